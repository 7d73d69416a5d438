"""Tests of many conversations that a server of one's own answers, by a program in the place of vLLM."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from made_once import made_once, run_folder
from paths import ROOT
from running import loaded_programs
from serving import QUESTION, program, save_adapter
from standin_vllm import BREAKS_ONCE, ENDS, FAILS, GARBLES_ONCE, SLOW, lives, said, standin
from waiting import until

from mothertongue.common.atomic_files import read_jsonl, write_jsonl
from mothertongue.common.errors import UserError
from mothertongue.models.answering import Decoding
from mothertongue.models.tokenizer_files import load_with_template
from mothertongue.serving import many, own_server
from mothertongue.serving.many import Answer
from mothertongue.serving.requests import Asked, Refusal

pytestmark = pytest.mark.costly


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return made_once(run_folder(tmp_path_factory) / "served", save_adapter) / "adapter"


@pytest.fixture
def server(adapter, tmp_path, monkeypatch):
    """Yield a server that answers two at a time, with another adapter beside, and the file of its processes."""
    processes = tmp_path / "processes"
    monkeypatch.setenv("SERVING_PROCESSES", str(processes))
    plan = own_server.Plan(str(standin(tmp_path)), [f"--log={tmp_path / 'log'}"], 2, 2, 512, None, 42, 32)
    speaks = own_server.asking("", Decoding(100))
    found = own_server.start("vllm", adapter, None, (None, None), speaks, plan, {"sft": adapter})
    yield found, tmp_path / "log"
    found.stop()
    assert not any(lives(int(one)) for one in processes.read_text().split())


def asked(model="adapter", question=QUESTION, **more):
    return Asked(model, [{"role": "user", "content": question}], **more)


def test_all_are_answered_in_order_and_what_cannot_be_asked_has_a_reason(server):
    found, log = server
    models = ["adapter", "base", "sft"] * 8
    wanted = [asked(model) for model in models]
    wanted[5:5] = [asked(question="muito " * 1000), asked(max_tokens=3)]
    advanced = []
    answers = many.answer_all(found, wanted, advanced.append)
    long, short = answers[5:7]
    assert isinstance(long, Refusal) and "the model reads 512, answer included" in str(long)
    assert short == Answer(said("adapter")[:3].strip(), False)
    assert answers[:5] + answers[7:] == [Answer(said(model).strip(), True) for model in models]
    assert sum(advanced) == len(wanted)
    bodies = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(body["temperature"] == 0 for body in bodies)


@pytest.mark.parametrize(
    ("seed", "why"),
    [(ENDS, "vllm's server of adapter ended (1): torch.OutOfMemoryError"), (FAILS, "vllm's server failed: 500")],
)
def test_a_server_that_fails_is_one_error(server, seed, why):
    found, _ = server
    wanted = [asked(seed=seed if at == 7 else at + 100) for at in range(40)]
    with pytest.raises(UserError) as raised:
        many.answer_all(found, wanted)
    assert why in str(raised.value)


@pytest.mark.parametrize("once", [BREAKS_ONCE, GARBLES_ONCE])
def test_an_answer_that_breaks_off_or_lacks_a_piece_is_asked_for_again(server, once, capsys):
    found, log = server
    answers = many.answer_all(found, [asked(seed=once if at == 3 else at + 100) for at in range(9)])
    assert answers == [Answer(said("adapter").strip(), True)] * 9
    assert [json.loads(line)["seed"] for line in log.read_text().splitlines()].count(once) == 2
    assert capsys.readouterr().err.count("vllm: asked again: vllm's server failed: ") == 1


def test_a_server_that_is_silent_is_told_of(server, monkeypatch, capsys):
    monkeypatch.setattr(many, "_SILENCE", 0.1)
    found, _ = server
    assert many.answer_all(found, [asked(seed=SLOW, max_tokens=30)])[0].text.startswith("abcabc")
    assert "vllm: no answer for 0." in capsys.readouterr().err


def test_chat_answers_a_batch_by_a_server(adapter, tmp_path, monkeypatch):
    plain = {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": QUESTION}]}
    asks = [{"prompt": QUESTION, "id": at} for at in range(9)] + [plain]
    write_jsonl(tmp_path / "prompts.jsonl", [*asks, {"prompt": "muito " * 1000}])
    options = ("--engine=vllm", "--program", standin(tmp_path), f"--server-option=--log={tmp_path / 'log'}")
    monkeypatch.setenv("SERVING_PROCESSES", str(tmp_path / "processes"))
    tokenizer, _ = load_with_template(adapter)
    batch = ("--batch", tmp_path / "prompts.jsonl", "--output", tmp_path / "answers.jsonl")
    for more, model in (((), "adapter"), (("--base-only", "--system-prompt="), "base")):
        done = program("chat", "--adapter", adapter, *batch, *options, *more, "--max-new-tokens=100")
        assert done.returncode == 0, done.stderr
        *rows, long = read_jsonl(tmp_path / "answers.jsonl")
        assert rows == [row | {"answer": said(model).strip(), "ended": True} for row in asks]
        assert long["answer"] is None and "the model reads 1,024, answer included; shorten it" in long["error"]
        bodies = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()[-len(asks) :]]
        assert {body["model"] for body in bodies} == {model}
        # With or without the training's system prompt; the last of them wants none.
        told = ["Responda." in tokenizer.decode(body["prompt"]) for body in bodies]
        assert sum(told) == (len(asks) - 1 if model == "adapter" else 0)
    until(lambda: not any(lives(int(one)) for one in (tmp_path / "processes").read_text().split()), 20)


def test_what_a_server_printed_that_does_not_start_stays(adapter, tmp_path, monkeypatch):
    """The error names the file."""
    (tmp_path / "p.txt").write_text("Olá")
    monkeypatch.setenv("SERVING_PROCESSES", str(tmp_path / "processes"))
    failing = ("--engine=vllm", "--program", standin(tmp_path), "--server-option=--ends=start")
    done = program("chat", "--adapter", adapter, "--batch", tmp_path / "p.txt", *failing)
    (output,) = re.findall(r"all that it printed is in (\S+)", done.stderr)
    assert "RuntimeError: no engine, see above" in Path(output).read_text()
    shutil.rmtree(Path(output).parent)


@pytest.mark.parametrize("limit", ["-Sn", "-n"], ids=["soft", "hard"])
def test_there_are_no_more_connections_than_a_process_may_have(adapter, limit, tmp_path, monkeypatch):
    """With 200 at once, and as many that wait, there would be more than the 256 files that may be open here."""
    monkeypatch.setenv("SERVING_PROCESSES", str(tmp_path / "processes"))
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": QUESTION}] * 300)
    loaded, batch = loaded_programs(), ("--batch", "prompts.jsonl", "--batch-size=200", "--output=answers.jsonl")
    options = ("--engine=vllm", "--program=./vllm", "--max-new-tokens=9")
    standin(tmp_path)
    command = [loaded.python, ROOT / "scripts/chat.py", "--adapter", adapter, *batch, *options]
    done = subprocess.run(
        ["bash", "-c", f'ulimit {limit} 256; exec "$@"', "-", *command],
        cwd=tmp_path, env=os.environ | loaded.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {row["answer"] for row in read_jsonl(tmp_path / "answers.jsonl")} == {said("adapter")[:9].strip()}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--engine=vllm", "Olá"), "--engine vllm answers a batch: give --batch too, or chat by scripts/serve.py"),
        (("--gguf=base.gguf", "--batch=p.txt"), "--gguf and --adapter-gguf are llama.cpp's: add --engine llama_cpp"),
        (("--engine=vllm", "--quantization=nf4", "--batch=p.txt"), "--quantization is for --engine transformers"),
        (("--engine=llama_cpp", "--batch=p.txt"), "--engine llama_cpp needs --gguf"),
        (
            ("--engine=llama_cpp", "--gguf=merged.gguf", "--base-only", "--batch=p.txt"),
            "--base-only needs --adapter-gguf",
        ),
    ],
)
def test_what_does_not_belong_together_is_one_line(adapter, tmp_path, options, expected):
    (tmp_path / "p.txt").write_text("Olá")
    options = [option.replace("=p.txt", f"={tmp_path / 'p.txt'}") for option in options]
    done = program("chat", "--adapter", adapter, *options)
    assert done.returncode != 0 and not done.stdout
    assert expected in done.stderr.splitlines()[-1], done.stderr
