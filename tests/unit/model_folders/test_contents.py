"""Tests of using model folders: only data files inside the folder are read, and no code of the folder runs."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mothertongue.common.atomic_files import sha256
from mothertongue.common.errors import UserError
from mothertongue.model_folders import contents
from mothertongue.models import fetching, references

SOURCES = sorted(Path("scripts").rglob("*.py"))
# Functions that load models, tokenizers, configurations or datasets from outside; load_dataset_builder no longer runs
# code of datasets, and has no such argument.
LOADERS = {"from_pretrained", "from_config", "HFLM", "AutoRound", "Converter", "load_dataset"}
# The scripts that use the model hub.
ASKING = {
    "fetch",
    "fetch_base_model",
    "fetch_chat_template",
    "fetch_estimator",
    "fetch_served_model",
    "fetch_translation_model",
    "fetch_benchmarks",
    "publish",
}
ASKING |= {"compare_engines", "list_opus_models"}


def named(node):
    return getattr(node, "attr", getattr(node, "id", None))


def test_every_loading_call_forbids_remote_code():
    told = 0
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and named(node.func) in LOADERS]
        # A loader passed on as a value would be called elsewhere, perhaps without the argument.
        assert len(calls) == sum(named(node) in LOADERS for node in ast.walk(tree) if hasattr(node, "ctx")), path
        for call in calls:
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert given.get("trust_remote_code") == "False", f"{path}: {ast.unparse(call)}"
            told += 1
    assert told > 15


def test_only_the_scripts_that_use_the_hub_have_access_and_token():
    for path in Path("scripts").glob("*.py"):
        assert ("run(main, hub=True)" in path.read_text(encoding="utf-8")) == (path.stem in ASKING), path
    code = (
        "import os, sys; {module}from mothertongue.common import errors\n"
        "def main():\n"
        "    from huggingface_hub import constants, get_token\n"
        "    print(constants.HF_HUB_OFFLINE, get_token())\n"
        "errors.run(main, hub={hub})"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "scripts", "HF_TOKEN": "hf_a", "HF_HOME": "/nowhere"}
    environment |= {"HUGGING_FACE_HUB_TOKEN": "hf_b"}
    for module, hub, expected in (
        ("", False, "True None"),
        ("from mothertongue.prompts import templates; ", False, "True None"),
        ("", True, "False hf_a"),
    ):
        command = [sys.executable, "-c", code.format(module=module, hub=hub)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr


def model(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize("name", ["/etc/passwd", "../model.safetensors", "a/b", "..", ".", "", "a\0b", None, 3, ["a"]])
def test_only_plain_names_are_read(tmp_path, name):
    with pytest.raises(UserError, match="only plain names"):
        contents.own(tmp_path, name)
    index = {"weight_map": {"a": "model.safetensors", "b": name}}
    with pytest.raises(UserError, match="only plain names"):
        contents.check(model(tmp_path / "model", **{"model.safetensors.index.json": index}))


def test_a_link_is_followed_only_within_the_folder(tmp_path):
    folder = model(tmp_path / "model", config__json={}, real__json={})
    secret = model(tmp_path, secret__json={"a": 1}) / "secret.json"
    (folder / "inside.json").symlink_to("real.json")
    contents.check(folder)
    # A link to the folder itself is accepted.
    (tmp_path / "linked").symlink_to(folder)
    contents.check(tmp_path / "linked")
    for target in (secret, "../secret.json", "gone.json", "loop.json", tmp_path):
        link = folder / "loop.json"
        link.symlink_to(target)
        with pytest.raises(UserError, match=r"loop\.json: (a link that leads out|no regular file)"):
            contents.check(folder)
        link.unlink()
    os.mkfifo(folder / "pipe.json")
    with pytest.raises(UserError, match="no regular file"):
        contents.check(folder)


def test_a_snapshot_in_the_hubs_cache_is_accepted(tmp_path):
    blobs = model(tmp_path / "models--owner--tiny" / "blobs", abc={"model_type": "llama"})
    snapshot = model(tmp_path / "models--owner--tiny" / "snapshots" / "f00")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    contents.check_base(snapshot)
    out = model(tmp_path / "out")
    fetching.fetch(references.parse(str(snapshot)), out)
    assert (out / "model.safetensors").resolve() == blobs / "abc" and not (out / "config.json").is_symlink()
    contents.check_base(out)
    secret = model(tmp_path, secret__json={}) / "secret.json"
    (snapshot / "generation_config.json").symlink_to(secret)
    with pytest.raises(UserError, match="leads out of the folder"):
        fetching.fetch(references.parse(str(snapshot)), model(tmp_path / "other"))


def test_a_fetched_folder_may_link_only_to_the_fetched_files(tmp_path):
    source = model(tmp_path / "source", config__json={"a": 1}, model__safetensors="weights")
    folder = model(tmp_path / "fetched")
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(source / name)
    record = {"files": {name: sha256(folder / name) for name in ("config.json", "model.safetensors")}}
    model(folder, **{"fetched.json": record})
    contents.check_base(folder)
    (source / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json: a link that leads out of the folder"):
        contents.check_base(folder)


def test_only_data_files_are_fetched(tmp_path, capsys):
    config = {
        "model_type": "llama",
        "auto_map": {"AutoConfig": "extra.C"},
        "text_config": {"auto_map": ["x"], "b": 1e-5},
    }
    plain = {"model_type": "llama", "text_config": {"b": 1e-5}}
    source = model(
        tmp_path / "source",
        config__json=config,
        adapter_config__json={},
        adapter_model__safetensors="",
        model__safetensors="",
        extra__py="",
        pytorch_model__bin="",
        notes__txt="",
        tokenizer__json={"vocab": {"auto_map": 1}},
    )
    fetching.fetch(references.parse(str(source)), out := model(tmp_path / "out"))
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "model.safetensors",
        "notes.txt",
        "tokenizer.json",
        "fetched.json",
    }
    assert json.loads((out / "config.json").read_text()) == plain
    assert json.loads((out / "tokenizer.json").read_text()) == {"vocab": {"auto_map": 1}}
    said = capsys.readouterr().err
    assert "adapter in the model's folder is left out" in said and "config.json names is left out" in said
    with contents.plain(source) as copy:
        assert not list(copy.glob("*.py")) and not list(copy.glob("*.bin"))
        assert json.loads((copy / "config.json").read_text()) == plain
    with pytest.raises(UserError, match="there is an adapter in it"):
        contents.check_base(source)
    (source / "config.json").unlink()
    with pytest.raises(UserError, match="an adapter and no model; name the base model"):
        fetching.fetch(references.parse(str(source)), model(tmp_path / "other"))


@pytest.mark.parametrize("implementation", ["owner/kernel", {"": "owner/kernel@main"}])
def test_an_attention_implementation_from_the_hub_is_refused(tmp_path, implementation):
    config = {"model_type": "llama", "attn_implementation": "sdpa"}
    contents.check(model(tmp_path, config__json=config))
    with pytest.raises(UserError, match=r"attn_implementation in config\.json names code on the hub"):
        contents.check(model(tmp_path, config__json=config | {"attn_implementation": implementation}))


@pytest.mark.parametrize("path", ["/etc/passwd", "/", "../json/x", "a/../../x"])
def test_a_package_reference_stays_in_the_package(path):
    with pytest.raises(UserError, match="expected package:NAME/PATH"):
        references.parse(f"package:json/{path}")


def test_a_packages_links_stay_in_the_package(tmp_path, monkeypatch):
    package = model(tmp_path / "some_weights", **{"__init____py": ""}, model__gguf="GGUF")
    (package / "out.gguf").symlink_to("/etc/passwd")
    monkeypatch.syspath_prepend(tmp_path)
    assert references.locate(references.parse("package:some_weights/model.gguf")) == package / "model.gguf"
    with pytest.raises(UserError, match="leads out of the package's folder"):
        references.locate(references.parse("package:some_weights/out.gguf"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "adapter_config.json is missing"),
        ({"adapter_config__json": {"peft_type": "LORA"}, "adapter_model__bin": ""}, "no adapter_model.safetensors"),
        ({"adapter_config__json": {"peft_type": "XLORA"}, "adapter_model__safetensors": ""}, "another kind than LoRA"),
        (
            {
                "adapter_config__json": {"peft_type": "LORA", "megatron_config": {}, "megatron_core": "x"},
                "adapter_model__safetensors": "",
            },
            None,
        ),
        (
            {
                "adapter_config__json": {"peft_type": "LORA", "megatron_config": {"a": 1}},
                "adapter_model__safetensors": "",
            },
            "another kind than LoRA",
        ),
    ],
)
def test_only_lora_adapters_in_safetensors_are_accepted(tmp_path, files, expected):
    folder = model(tmp_path, **files)
    if expected is None:
        contents.check_adapter(folder)
        return
    with pytest.raises(UserError, match=expected):
        contents.check_adapter(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"vocab": "/etc/passwd"},
        {"merges": "/etc/passwd"},
        {"init_inputs": ["/etc/passwd"]},
        {"fast_tokenizer_files": ["tokenizer.json", "../tokenizer.4.0.json"]},
        {"tokenizer_class": "RagTokenizer"},
    ],
    ids=str,
)
def test_a_tokenizer_configuration_that_names_other_files_is_refused(tiny_base, tmp_path, settings):
    shutil.copytree(tiny_base, tmp_path, dirs_exist_ok=True)
    contents.check(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with pytest.raises(UserError, match=r"remove it|only plain names|may name code"):
        contents.check(tmp_path)


def test_the_fetched_json_of_a_foreign_folder_does_not_allow_links(tiny_base, tmp_path):
    """Its author also wrote fetched.json. The files in a subfolder of templates are checked like all others."""
    theirs, secret = tmp_path / "theirs", tmp_path / "model.safetensors"
    shutil.copytree(tiny_base, theirs)
    (theirs / "model.safetensors").rename(secret)
    (theirs / "model.safetensors").symlink_to(secret)
    (theirs / "fetched.json").write_text('{"files": {"model.safetensors": ""}}')
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match=r"model\.safetensors: a link that leads out of the folder"):
        contents.take(theirs, tmp_path / "taken", [*contents.SMALL, *contents.WEIGHTS])
    secret.replace(theirs / "model.safetensors")
    (theirs / "additional_chat_templates").mkdir()
    (theirs / "additional_chat_templates/x.jinja").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"x\.jinja: a link that leads out of the folder"):
        contents.check(theirs)
