"""Tests of the judge with the real Snakemake: its jobs and key, what makes it stale, its table in the report."""

import json
import os
import re

import judges
import pyarrow as pa
import pytest
from endpoint import Endpoint
from witness import KEY, WITNESS

from mothertongue.common.atomic_files import sha256
from mothertongue.formats import messages
from mothertongue.formats.votes import Vote

REPORT = "results/demo/pt/report.html"
JUDGED = "results/demo/pt/evaluation/judge.json"


def by_quality(body, number):
    """Prefer the answer that states the higher quality, else the longer one."""
    parts = judges.parts(body)
    if all("quality" in parts[f"ANSWER {name}"] for name in "AB"):
        return judges.perfect(body, number)
    a, b = (len(parts[f"ANSWER {name}"]) for name in "AB")
    return judges.verdict("A" if a > b else "B" if b > a else "TIE")


@pytest.fixture(scope="module")
def server():
    with Endpoint(by_quality) as server:
        yield server


@pytest.fixture(scope="module")
def judged(built, server):
    """Return the built project with enough ranked replies in its dataset and a judge, and the run that asked it."""
    path = built.root / "results/demo/pt/dataset/train.parquet"
    before, table = path.stat(), messages.read(path, messages.TRANSLATED)
    messages.write(pa.concat_tables([table, judges.table(judges.ranked_rows(40))]), path)
    # Nothing else is to be built again for it.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    witness = built.root / "witness/sitecustomize.py"
    witness.parent.mkdir()
    witness.write_text(WITNESS)
    configured = {"url": server.url, "model": "Some/Judge 70B", "price_input": 1.0, "price_output": 2.0}
    built.configure(judge={"endpoint": configured, "prompts": 20})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDPOINT_API_KEY", KEY)
        patch.setenv("PYTHONPATH", str(witness.parent))
        patch.setenv("WITNESSED", str(built.root / "witnessed.jsonl"))
        yield built, built.build(REPORT, "--printshellcmds")


def test_a_judge_that_is_configured_has_its_table_in_the_report_and_nothing_else_is_built(judged, server):
    project, run = judged
    assert run.jobs == {"describe_endpoint": 1, "judge": 1, "report": 1}
    found = json.loads((project.root / JUDGED).read_text(encoding="utf-8"))
    assert found["withheld"] is None and found["agreement"]["deciding"] == "translated"
    assert [one["second"] for one in found["pairs"]] == ["base", "base_system_prompt", "base_system_prompt"]
    page = (project.root / REPORT).read_text(encoding="utf-8")
    assert "A judge, Some/Judge 70B, compared" in page and "ask the judge" in page
    usage = json.loads((project.root / "results/demo/benchmarks/pt/judge.endpoint.json").read_text())
    assert usage["requests"] == len(server.bodies) and f"The judge got {usage['requests']:,} requests" in page


def test_only_the_judge_has_the_key_and_it_is_in_no_file(judged, server):
    project, run = judged
    assert {headers.get("authorization") for headers in server.headers} == {f"Bearer {KEY}"}
    seen = [json.loads(line) for line in (project.root / "witnessed.jsonl").read_text().splitlines()]
    assert {program for program, has in seen if has} == {"judge.py"} and "report.py" in {name for name, _ in seen}
    files = [path for path in project.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in run.output


def test_votes_are_shown_beside_it_and_no_verdict_is_paid_for_twice(judged, server):
    project, _ = judged
    asked = len(server.bodies)
    project.configure(judge={"endpoint": project.configured("judge")["endpoint"] | {"concurrency": 3, "max_cost": 9.0}})
    assert "Nothing to be done" in project.build("-n", JUDGED).output
    weights = sha256(project.root / "results/demo/pt/adapter/adapter_model.safetensors")
    vote = Vote("2026-01-31T12:00:00Z", [{"role": "user", "content": "Oi?"}], {"adapter": "Oi!", "base": "Hi!"},
                "base", True, "adapter", weights[:16])  # fmt: skip
    (project.root / "results/demo/pt/votes.jsonl").write_text(f"{vote.line()}\n" * 3)
    run = project.build(REPORT)
    assert run.jobs == {"judge": 1, "report": 1} and len(server.bodies) == asked
    page = (project.root / REPORT).read_text(encoding="utf-8")
    assert "People’s votes" in page and "3 blind votes" in page


def test_another_variants_adapter_is_compared_on_its_answers(judged):
    project, _ = judged
    before = (project.root / "mine.yaml").read_text()
    project.configure(judge={"against": ["careful"]}, variants={"careful": {"max_steps": 2}})
    output = project.build("-n", "--printshellcmds", JUDGED).output
    (project.root / "mine.yaml").write_text(before)
    assert "--against=careful=results/demo/pt/variants/careful/evaluation/samples.jsonl" in output
    assert re.search(r"^tune +1$", output, re.MULTILINE) and re.search(r"^evaluate +1$", output, re.MULTILINE)


def test_without_a_judge_its_target_is_refused_in_one_line(judged):
    project, _ = judged
    before = (project.root / "mine.yaml").read_text()
    project.drop("judge")
    run = project.run("-n", JUDGED)
    assert run.code != 0 and "error: judge.endpoint.model is missing" in run.output
    for values, said in (
        ({"endpoint": {"model": "a"}}, "error: judge.endpoint.url is missing"),
        ({"against": ["none"]}, "error: judge.against: there is no variant 'none'; the configuration has: none"),
        ({"pairs": ["adapter beats base"]}, "expected: two systems such as adapter vs base"),
    ):
        project.configure(judge=values)
        run = project.run("-n", JUDGED)
        assert run.code != 0 and re.search(re.escape(said), run.output), run
        project.drop("judge")
    (project.root / "mine.yaml").write_text(before)
