"""Tests of what the report reads of a run."""

import json

from mothertongue.report import run_data


def test_messages_are_counted_for_local_models_too(tmp_path):
    for name, reference, kind in (
        ("a", "/data/models/my+mini@1", "folder"),
        ("b", "owner/other", "hub"),
        ("base", "o/b", "hub"),
    ):
        (tmp_path / name).mkdir()
        record = {"reference": reference, "kind": kind, "revision": f"r-{name}", "licence": None, "files": {}}
        (tmp_path / name / "fetched.json").write_text(json.dumps(record))
    used = {"my+mini@1@r-a": 3, "my+mini@1@r-a+owner/other@r-b": 5, "owner/other@r-b": 1, "owner/other@older": 7}
    models = run_data.read_models([tmp_path / "a", tmp_path / "b"], tmp_path / "base", {"total": {"model": used}})
    assert [(model.name, model.messages) for model in models] == [
        ("/data/models/my+mini@1", 8),
        ("owner/other", 6),
        ("o/b", None),
    ]
