"""Tests of an evaluation whose answers a server gives, with the real Snakemake and a program in the place of vLLM."""

import json
import re
from collections import Counter

from running import METRICS
from standin_vllm import lives, said, standin
from waiting import until


def test_vllm_answers_and_the_rest_is_as_before(built, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVING_PROCESSES", str(tmp_path / "processes"))
    before = json.loads((built.root / METRICS).read_text())
    options = [f"--log={tmp_path / 'log'}"]
    built.configure(evaluation={"engine": "vllm", "program": str(standin(tmp_path)), "server_options": options})
    assert built.build().jobs == {"evaluate": 1}
    found = json.loads((built.root / METRICS).read_text())
    assert (before["settings"]["engine"], found["settings"]["engine"]) == ("transformers", "vllm")
    assert (found["settings"]["gguf"], found["settings"]["server_options"]) == (None, options)
    for same in ("bits_per_byte", "prompts", "models"):
        assert found[same] == before[same]
    samples = [json.loads(line) for line in (built.root / METRICS).with_name("samples.jsonl").open(encoding="utf-8")]
    answered = {row["side"]: (row["answer"], row["ended"]) for row in samples}
    # The longest answer has eight tokens, which are letters here.
    assert answered["base_system_prompt"] == (said("base")[:8].strip(), False)
    assert answered["adapter"] == (said("adapter")[:8].strip(), False)
    bodies = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    # Each model is asked for a word first.
    asked = Counter(body["model"] for body in bodies)
    sides = Counter("base" if row["side"].startswith("base") else "adapter" for row in samples)
    assert asked == sides + Counter(["base", "adapter"])
    until(lambda: not any(lives(int(one)) for one in (tmp_path / "processes").read_text().split()), 20)
    assert built.run("-n").jobs == {}
    built.configure(evaluation={"server_options": ["--ends=start"]})
    failed = built.run(METRICS, "--forcerun", "evaluate")
    assert failed.code != 0 and re.search(r"vllm's server of adapter ended.*/evaluation/server\.log", failed.output)


def test_llama_cpp_answers_from_exported_files(built):
    built.configure(evaluation={"engine": "llama_cpp", "program": None, "server_options": [], "gguf": "q8_0"})
    planned = built.run("-n", "--printshellcmds", "--quiet=host", METRICS)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", planned.output, re.MULTILINE))
    assert {rule: jobs.get(rule) for rule in ("evaluate", "convert_to_gguf", "quantize", "merge")} == {
        "evaluate": "1", "convert_to_gguf": "2", "quantize": "1", "merge": None,
    }  # fmt: skip
    folder = "results/demo/pt/export"
    assert f"--gguf={folder}/base/q8_0.gguf" in planned.output
    assert f"--adapter-gguf={folder}/adapter.gguf" in planned.output
    built.configure(evaluation={"engine": "transformers", "program": "llama-server"})
    refused = built.run("-n", METRICS)
    assert refused.code != 0 and "evaluation.engine is transformers, which has no program" in refused.output
    built.configure(evaluation={"engine": "llama_cpp", "program": None}, tuning={"method": "dpo"})
    refused = built.run("-n", METRICS)
    assert refused.code != 0 and "error: evaluation.engine: llama_cpp answers for one adapter" in refused.output
