"""Tests of serve.py with a server of its own: one that stands for vLLM, and the commands of both kinds of servers."""

import json
import os
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from made_once import made_once, run_folder
from serving import CHAT, QUESTION, answer, body, events, program, request, save_adapter, serving, start
from standin_vllm import ENDS, FAILS, FAILS_LATER, SLOW, TOO_LONG, lives, said, standin
from waiting import until

from mothertongue.common.atomic_files import read_json, write_json
from mothertongue.common.errors import UserError
from mothertongue.models.answering import Decoding
from mothertongue.models.tokenizer_files import load_with_template
from mothertongue.prompts import templates
from mothertongue.serving import own_server
from mothertongue.serving.own_server import Plan, choose, llama_cpp_command, objection, vllm_command

pytestmark = pytest.mark.costly


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return made_once(run_folder(tmp_path_factory) / "served", save_adapter) / "adapter"


@pytest.fixture(scope="module")
def served(adapter, tmp_path_factory):
    """Yield the address of a server over the program, its process, and a function that returns what that was asked."""
    folder = tmp_path_factory.mktemp("forwarding")
    options = ("--engine=vllm", "--program", standin(folder), f"--server-option=--log={folder / 'log'}")
    limits = ("--at-once=2", "--waiting=1", "--window=512", "--votes", folder / "votes.jsonl")
    processes = folder / "processes"
    with serving(adapter, *options, *limits, SERVING_PROCESSES=str(processes)) as (address, process):
        yield address, process, lambda: list(map(json.loads, (folder / "log").read_text().splitlines()))
    found = [int(one) for one in processes.read_text().split()]
    until(lambda: not any(map(lives, found)), 20)


def test_answers_of_the_program_are_handed_on(served, adapter):
    address, _, asked = served
    assert answer(address, body("A " * 20, max_tokens=500))[2]["prompt_tokens"] > 40
    for model in ("adapter", "base"):
        text, reason, usage = answer(address, body(model=model, max_tokens=100, temperature=0.5, top_p=0.9, seed=-7))
        # White space around an answer is left out, as always.
        assert (text, reason) == (said(model).strip(), "stop")
        assert usage["completion_tokens"] == len(said(model)) + 1
        assert answer(address, body(model=model, max_tokens=8))[1:2] == ("length",)
    cut, reason, usage = answer(address, body(max_tokens=100, stop=["never", "STOP"]))
    assert (cut, reason) == ("adapter:\u2028Olá! 🌍\r\x85 ", "stop") and usage["completion_tokens"] < len(
        said("adapter")
    )
    stream = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 100}
    *chunks, done = events(request(address, CHAT, body(**stream))[2])
    *pieces, counted = map(json.loads, chunks)
    assert done == "[DONE]" and counted["usage"]["completion_tokens"] == len(said("adapter")) + 1
    text = "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces)
    assert text == said("adapter").strip() and len(pieces) > 10
    # The program gets the tokens that training would read, and everything that says how an answer is chosen.
    tokenizer, template = load_with_template(adapter)
    prompt = templates.encode_prompt(templates.chat("Responda.", QUESTION), template, tokenizer)
    (sent,) = [one for one in asked() if one != "left" and one["seed"] == -7 and one["model"] == "base"]
    ends = {templates.end_of_turn(template, tokenizer), tokenizer.eos_token_id}
    assert sent["prompt"] == prompt and set(sent["stop_token_ids"]) == ends and sent["ignore_eos"]
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"]) == (100, 0.5, 0.9)
    # Greedy where nothing is said; and an answer ends with the window.
    answer(address, body(max_tokens=5000))
    assert (asked()[-1]["max_tokens"], asked()[-1]["temperature"]) == (512 - len(prompt), 0.0)


def test_errors_of_the_program_are_told(served):
    address, _, _ = served
    for asked, status, code, reason in (
        (body(seed=TOO_LONG), 400, "context_length_exceeded", "longer than the context length <400>"),
        (body(seed=FAILS), 502, None, "vllm's server failed: 500 longer than the context"),
        (body(seed=FAILS_LATER, max_tokens=100), 502, None, "vllm's server failed: 500 out of blocks"),
        (body("muito " * 1000), 400, "context_length_exceeded", "the model reads 512, answer included"),
    ):
        found, _, error = request(address, CHAT, asked)
        assert (found, error["error"]["code"]) == (status, code) and reason in error["error"]["message"]


def test_many_are_answered_at_once_and_who_leaves_makes_room(served):
    address, _, asked = served
    slow = body(seed=SLOW, max_tokens=10_000)
    left = asked().count("left")
    running = [start(address, slow) for _ in range(3)]
    for one in running:
        assert one.getresponse().read(6) == b"data: "
    status, headers, _ = request(address, CHAT, body())
    assert (status, headers["retry-after"]) == (429, "2")
    for one in running:
        one.close()
    until(lambda: asked().count("left") == left + 3, 20)
    assert answer(address, body(max_tokens=100))[0] == said("adapter").strip()


def test_a_program_that_ends_is_told_once_in_the_log_and_in_each_answer(served):
    address, process, _ = served
    assert request(address, "/health")[2] == {"status": "ok"}
    with closing(start(address, body(seed=SLOW, max_tokens=10_000))) as running:
        response = running.getresponse()
        assert response.read(6) == b"data: "
        for asked in (body(seed=ENDS), body()):
            status, _, said = request(address, CHAT, asked)
            assert status == 503 and "vllm's server has ended" in said["error"]["message"]
        assert "vllm's server has ended" in events("data: " + response.read().decode())[-1]
    status, _, said = request(address, "/health")
    assert status == 503 and "vllm's server has ended" in said["error"]["message"]
    process.terminate()
    _, errors = process.communicate(timeout=30)
    (told,) = [line for line in errors.splitlines() if "error" in line]
    assert "vllm's server of adapter ended (1): torch.OutOfMemoryError: CUDA out of memory; all that it" in told


def test_the_programs_are_told_what_to_serve(tmp_path):
    found = standin(tmp_path)
    plan = Plan(str(found), ["--dtype=float32"], 9, 8, 4096, tmp_path / "log", 42)
    adapters = {"adapter": tmp_path / "adapter", "sft": tmp_path / "other"}
    words = " ".join(vllm_command(tmp_path / "base", adapters, 12, plan, 2048, 80))
    assert re.fullmatch(
        rf"{found} serve {tmp_path}/base --enable-lora --lora-modules adapter={tmp_path}/adapter sft={tmp_path}/other "
        r"--served-model-name base --max-lora-rank 16 --max-model-len 2048 --max-num-seqs 9 --generation-config vllm "
        r"--stream-interval 1 --host 127\.0\.0\.1 --port 80 --dtype=float32", words,
    )  # fmt: skip
    own = Plan(None, [], 4, 8, 4096, tmp_path / "log", 42)
    words = " ".join(llama_cpp_command(Path("base.gguf"), Path("adapter.gguf"), own, 80))
    assert (
        "--model base.gguf --lora adapter.gguf --alias adapter --ctx-size 16384 --parallel 4 " in words
        and "--cache-ram 0" in words
    )
    assert "--lora" not in llama_cpp_command(Path("merged.gguf"), None, own, 80)


@pytest.mark.parametrize(
    ("change", "names", "why"),
    [
        ({}, [], ""),
        ({"use_rslora": True, "bias": "none", "modules_to_save": None, "rank_pattern": {}}, [], ""),
        ({"use_dora": True}, ["q.lora_magnitude_vector"], "DoRA"),
        ({"modules_to_save": ["lm_head"]}, [], "modules_to_save"),
        ({"lora_bias": True, "bias": "all"}, [], "lora_bias, bias"),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, [], "target_parameters (experts)"),
        ({"rank_pattern": {"q_proj": 4}}, [], "rank_pattern"),
        ({"peft_type": "LOHA"}, [], "LOHA"),
        ({}, ["embed_tokens.lora_embedding_A"], "the weight 'embed_tokens.lora_embedding_A'"),
        ({"r": 1024}, [], "a rank of 1024, above 512,"),
    ],
)
def test_adapters_that_vllm_would_not_apply_are_refused(change, names, why):
    config = {"peft_type": "LORA", "r": 8} | change
    assert objection(config, ["q_proj.lora_A.weight", "q_proj.lora_B.weight", *names]) == why


def test_vllm_is_taken_where_it_and_a_gpu_are_here(adapter, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 0\n")
    smi.chmod(0o755)

    def chosen(quantization="none", of=adapter):
        return choose("auto", of, None, quantization)

    assert chosen() == "transformers"
    standin(tmp_path)
    assert (chosen(), chosen("nf4"), choose("transformers", adapter, None, "none")) == ("vllm", *["transformers"] * 2)
    other = tmp_path / "adapter"
    shutil.copytree(adapter, other)
    write_json(other / "adapter_config.json", read_json(adapter / "adapter_config.json") | {"use_dora": True})
    assert chosen(of=other) == "transformers"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert chosen() == "transformers"


def test_files_that_do_not_belong_together_are_refused(adapter, tmp_path):
    export, plan = tmp_path / "export", Plan(None, [], 4, 8, 4096, tmp_path / "log", 42)
    for folder in ("base", "gguf"):
        (export / folder).mkdir(parents=True)
        # No tensors, and no values.
        (export / folder / "f16.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    base, merged = export / "base/f16.gguf", export / "gguf/f16.gguf"
    for gguf, lora, expected in (
        (None, None, "--engine llama_cpp needs --gguf"),
        (base, None, f"is the base model alone; give --adapter-gguf {export}/adapter.gguf, too"),
        (merged, base, "has the adapter in it already"),
        (adapter / "training.json", None, "not a GGUF file, or a damaged one"),
    ):
        with pytest.raises(UserError, match=re.escape(expected)):
            own_server.start_llama_cpp(adapter, gguf, lora, own_server.asking("", Decoding(1)), plan)


def test_what_cannot_be_served_is_one_line(adapter, tmp_path):
    failing = (f"--program={standin(tmp_path)}", "--server-option=--ends=start", f"--votes={tmp_path}/votes.jsonl")
    for options, expected in (
        (["--gguf", tmp_path], "--gguf and --adapter-gguf are llama.cpp's: add --engine llama_cpp"),
        (["--engine=vllm", "--quantization=nf4"], "--quantization is for --engine transformers"),
        (["--engine=vllm", *failing], "ended (1): ValueError: the window is larger than the model's; all that it"),
    ):
        done = program("serve", "--adapter", adapter, "--port=0", *options)
        assert done.returncode == 1 and not done.stdout
        assert expected in done.stderr.splitlines()[-1], done.stderr
