"""Tests of running external programs: their progress is reported, and they do not outlive the step."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from mothertongue.common import progress, subprocesses
from mothertongue.export.gguf import convert, quantize

SPEAKING = "import sys, time; say = lambda text: print(text, end='', file=sys.stderr, flush=True)\n"


def run(code, reached=convert.written):
    return subprocesses.run([sys.executable, "-c", SPEAKING + code], reached, "task", "MB")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child whose parent is killed")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_process_ends_with_its_killed_parent(tmp_path, number):
    os.mkfifo(tmp_path / "pipe")
    child = f"import time; file = open({str(tmp_path / 'pipe')!r}, 'w'); print('here', file=file, flush=True); time.sleep(60)"
    parent = (
        "import sys; from mothertongue.common import errors, subprocesses\n"
        f"command = [sys.executable, '-c', {child!r}]\n"
        "errors.run(lambda: subprocesses.run(command, lambda line: None, 'task', 'MB'))"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], env=os.environ | {"PYTHONPATH": "scripts"})
    # Reading returns an empty text once the last process that writes to the pipe has ended.
    with (tmp_path / "pipe").open() as pipe:
        assert pipe.readline() == "here\n"
        started = time.monotonic()
        process.send_signal(number)
        assert pipe.read() == "" and time.monotonic() - started < 20
    assert process.wait(timeout=20) in (-signal.SIGKILL, 128 + signal.SIGTERM)


def test_a_child_process_has_no_hub_access_no_token_and_no_stdin(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_a")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_b")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    names = "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_MODULES_CACHE"
    said = run(f"import os; say([*map(os.environ.get, {names!r}), sys.stdin.read()]); sys.exit(1)")
    assert said == ["[None, None, '1', '/dev/null', '']"]


@pytest.mark.costly
def test_only_progress_is_logged_and_during_the_run(capfd, monkeypatch):
    monkeypatch.setattr(progress.Progress.__init__, "__defaults__", (0.5,))
    bar = "'\\rWriting:  %2d%%|###   | %d.0M/1.50G [00:01<00:03, 90Mbyte/s]' % (i, 15 * i)"
    lines = "say('INFO:hf-to-gguf:blk.0.attn_q.weight, torch.bfloat16 --> F16\\n' * 300)\n"
    assert run(lines + f"for i in range(0, 60): say({bar}); time.sleep(0.02)") == []
    said = capfd.readouterr().err.splitlines()
    assert 2 <= len(said) <= 5 and re.fullmatch(r"task: \d+ of 1,500 MB, [\d.]+/s, .* left", said[0])
    assert re.match("task: 885 MB in ", said[-1])


def test_the_last_lines_of_a_failing_program_are_returned(capfd):
    said = run("say('\\n'.join(map(str, range(99))) + '\\n\\nwhy\\n'); sys.exit(3)")
    assert said[-2:] == ["98", "why"] and len(said) == 20
    assert run("sys.exit(3)") == ["nothing"]
    assert "SIGKILL, as where the memory is too small" in run("import os; os.kill(os.getpid(), 9)")[-1]
    assert capfd.readouterr().err == ""


def test_lines_of_llama_quantize_are_counted():
    line = "[  12/ 272]   blk.0.attn_q.weight - [  576,   576,     1,     1], type =    f16, converting to q8_0 .. size = 1"
    assert quantize.quantized(line) == (12, 272)
    assert quantize.quantized("llama_model_quantize_internal: model size  =   256.63 MB") is None
