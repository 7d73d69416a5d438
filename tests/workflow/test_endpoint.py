"""Tests of translation by a chat model on a server, with the real Snakemake: its key, its costs, what makes it stale."""

import json
import re
import sys

import pytest
from endpoint import Endpoint
from endpoint_site import make_site, poorly
from paths import ROOT
from standin_vllm import lives
from witness import KEY

from mothertongue.formats.messages import TRANSLATED, read

DATASET = "results/pt/dataset/README.md"
THREADS = "results/pt/threads/train.jsonl"


@pytest.fixture(scope="module")
def server():
    with Endpoint(poorly) as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory, server):
    config = {
        "source": {"dataset": "messages.jsonl", "languages": ["en", "pt"], "shards": {"en": 2}},
        "translation": {
            "engine": "endpoint",
            "endpoint": {"url": server.url, "model": "Some/Model 7B", "licence": "some terms", "max_requests": 5},
        },
        "threads": {"prompt_format": "chatml"},
    }
    with pytest.MonkeyPatch.context() as patch:
        yield make_site(tmp_path_factory.mktemp("endpoint"), config, patch)


def endpoint(site, **values):
    site.configure(translation={"endpoint": site.configured("translation")["endpoint"] | values})


@pytest.fixture(scope="module")
def stopped(site, server):
    """Return a run that the budget of all jobs together stopped, and the requests until then."""
    return site.run(THREADS), len(server.bodies)


def test_a_budget_stops_the_jobs_in_one_line_and_they_go_on_from_there(site, server, stopped):
    run, asked = stopped
    assert run.code != 0 and asked == 5
    assert re.search(
        r"translate.py: error: endpoint \S+, model Some/Model 7B: endpoint.max_requests is 5: 5 ", run.output
    )
    endpoint(site, max_requests=None)
    run = site.build(THREADS)
    messages = [row for row in site.read_messages() if row["lang"] == "en"]
    assert set(run.jobs) <= {"fetch", "split", "translate", "combine", "threads"} and run.jobs["translate"] <= 3
    firsts = {json.dumps(body["messages"]) for body in server.bodies}
    assert len(firsts) >= len(messages) * 0.9 and len(server.bodies) <= 3 * len(messages)
    record = json.loads((site.root / "results/benchmarks/pt/translated/en/0.endpoint.json").read_text())
    other = json.loads((site.root / "results/benchmarks/pt/translated/en/1.endpoint.json").read_text())
    assert record["requests"] + other["requests"] == len(server.bodies) and record["input_tokens"] % 10 == 0
    card = (site.root / DATASET).read_text(encoding="utf-8")
    assert "Some/Model 7B@endpoint" in card and "some terms" in card


def test_where_the_server_is_and_what_it_may_cost_makes_nothing_stale(site, server, stopped):
    endpoint(site, url="http://localhost:9/v1", concurrency=3, timeout=7, max_tokens=9, key_variable="OTHER_KEY",
        max_cost=1.0, price_input=1.0, allow_http=True, max_requests=99)  # fmt: skip
    assert site.build("-n", THREADS).output.count("Nothing to be done") == 1
    endpoint(site, url=server.url, concurrency=16, timeout=300, max_tokens=None, key_variable="ENDPOINT_API_KEY",
        max_cost=None, price_input=0.0, allow_http=False, max_requests=None)  # fmt: skip
    site.configure(translation={"instructions": "Use the informal you."})
    stale = site.build("-n", THREADS).output
    assert re.search(r"^translate +2$", stale, re.MULTILINE) and not re.search(
        r"^describe_endpoint", stale, re.MULTILINE
    )
    site.configure(translation={"instructions": ""})
    assert "Nothing to be done" in site.build("-n", THREADS).output


def test_the_key_is_with_the_jobs_that_ask_the_server_alone_and_in_no_file(site, server, stopped):
    assert {headers.get("authorization") for headers in server.headers} == {f"Bearer {KEY}"}
    seen = [json.loads(line) for line in (site.root / "witnessed.jsonl").read_text().splitlines()]
    having = {program for program, has in seen if has}
    assert having == {"translate.py"} and {program for program, _ in seen} >= {"fetch.py", "split.py", "combine.py"}
    files = [path for path in site.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in stopped[0].output and 'ENDPOINT_API_KEY="$key_ENDPOINT_API_KEY"' in stopped[0].output


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": None}, "error: translation.endpoint.model is missing"),
        ({"url": None}, "error: translation.endpoint.url is missing"),
        (
            {"url": "http://gpu1:8000/v1"},
            "error: translation.endpoint.url: text and key would be sent to gpu1 unencrypted",
        ),
        ({"max_cost": 3.0}, "error: translation.endpoint.max_cost needs the prices"),
        (
            {"key_variable": "HF_TOKEN"},
            "expected: the name of an environment variable that ends in KEY or TOKEN, not of the hub's token",
        ),
    ],
)
def test_a_wrong_configuration_is_one_line_before_anything_runs(site, stopped, values, said):
    before = (site.root / "mine.yaml").read_text()
    endpoint(site, **values)
    run = site.run("-n", THREADS)
    (site.root / "mine.yaml").write_text(before)
    assert run.code != 0 and said in run.output, run


def test_each_job_serves_the_fetched_model_itself(site, stopped, tiny_base, monkeypatch):
    program = site.root / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/support/standin_vllm.py"} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("SERVING_PROCESSES", str(site.root / "processes"))
    served = {"serve": "vllm", "serve_program": str(program), "model": str(tiny_base), "url": None}
    endpoint(site, **served)
    planned = site.build("-n", "results/pt/translated/en/0.parquet").output
    assert re.search(r"^fetch_served_model +1$", planned, re.MULTILINE) and "gpu=1" in planned
    endpoint(site, serve_gpus=0, max_requests=None, **served)
    run = site.build("results/pt/translated/en/0.parquet", "results/pt/translated/en/1.parquet")
    assert run.jobs == {"fetch_served_model": 1, "translate": 2}
    # Each job had a server, and none is left.
    processes = [int(one) for one in (site.root / "processes").read_text().split()]
    assert len(processes) == 4 and not [one for one in processes if lives(one)]
    rows = read(site.root / "results/pt/translated/en/0.parquet", TRANSLATED).to_pylist()
    assert {row["status"] for row in rows} <= {"flagged", "failed", "copied"}
    endpoint(site, url="http://localhost:8000/v1")
    run = site.run("-n", THREADS)
    assert run.code != 0 and "error: translation.endpoint: url and serve both name a server; remove one" in run.output
