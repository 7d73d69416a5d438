"""Tests of the servers that jobs start themselves: what is run, what becomes of it, and what it says when it fails."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paths import ROOT
from standin_vllm import lives

from mothertongue.common.errors import UserError
from mothertongue.endpoints import child
from mothertongue.endpoints.answers import Answer, Answers
from mothertongue.endpoints.client import Client
from mothertongue.endpoints.protocol import Request
from mothertongue.endpoints.server import Served, Server, command
from mothertongue.endpoints.settings import EndpointSettings


@pytest.fixture
def processes(tmp_path, monkeypatch):
    """Return a function that returns the processes of the servers that were started so far."""
    file = tmp_path / "processes"
    monkeypatch.setenv("SERVING_PROCESSES", str(file))
    yield lambda: [int(one) for one in file.read_text().split()] if file.exists() else []
    for process in [int(one) for one in file.read_text().split()] if file.exists() else []:
        if lives(process):
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def settings(tmp_path, processes):
    """Return a function that returns settings with a program that stands for vLLM."""
    program = tmp_path / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/support/standin_vllm.py"} "$@"\n')
    program.chmod(0o755)
    return lambda **values: EndpointSettings(
        endpoint_serve="vllm",
        endpoint_serve_program=str(program),
        **{f"endpoint_{name}": value for name, value in values.items()},
    )


def client(settings, tmp_path):
    own = Server(settings, Served(tmp_path / "model", "some/model@1", 2), tmp_path / "server.log")
    return Client(settings, "some/model@1", Answers(tmp_path / "answers.jsonl"), own, first_pause=0.01)


def asked(*texts):
    return [Request(({"role": "user", "content": text},), 16) for text in texts]


def ended(found):
    ends = time.monotonic() + 20
    while any(map(lives, found)) and time.monotonic() < ends:
        time.sleep(0.05)
    return not any(map(lives, found))


def test_a_server_starts_for_the_first_question_and_ends_with_all_its_processes(settings, processes, tmp_path):
    one = client(settings(), tmp_path)
    assert not processes()
    assert dict(one.stream(asked("a", "b"))) == {0: Answer("A"), 1: Answer("B")}
    assert dict(one.stream(asked("c"))) == {0: Answer("C")}
    found = processes()
    assert len(found) == 2 and all(map(lives, found))
    arguments = b"".join(Path(f"/proc/{process}/cmdline").read_bytes() for process in found)
    one.close()
    assert ended(found)
    key = one.server.key.encode()
    assert key not in arguments and not [p for p in tmp_path.rglob("*") if p.is_file() and key in p.read_bytes()]
    # All of it is answered: no server is needed.
    again = client(settings(), tmp_path)
    assert dict(again.stream(asked("b"))) == {0: Answer("B")} and processes() == found
    again.close()


@pytest.mark.parametrize(
    ("number", "send"), [(signal.SIGTERM, os.kill), (signal.SIGKILL, os.kill), (signal.SIGKILL, os.killpg)]
)
def test_however_the_job_ends_its_server_does_not_stay(number, send, settings, processes, tmp_path):
    given = settings()
    job = f"""
import sys, time
sys.path.insert(0, {str(ROOT / "scripts")!r})
from pathlib import Path
from mothertongue.endpoints.server import *
Server(EndpointSettings(endpoint_serve="vllm", endpoint_serve_program={given.endpoint_serve_program!r}),
       Served(Path("model"), "m", 1)).start()
print("runs", flush=True)
time.sleep(600)
"""
    options = {"stdout": subprocess.PIPE, "cwd": tmp_path, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", job], **options) as running:
        assert running.stdout.readline() == b"runs\n"
        found = processes()
        send(running.pid, number)
    assert len(found) == 2 and ended(found)


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ("start", r"vllm's server of some/model@1 ended \(1\): ValueError: the window is larger than the model's; all"),
        ("3", r"vllm's server of some/model@1 ended \(1\): torch.OutOfMemoryError: CUDA out of memory; all that"),
    ],
)
def test_a_server_that_ends_says_why_and_what_it_answered_is_kept(ends, why, settings, processes, tmp_path):
    one = client(settings(serve_options=[f"--ends={ends}"], concurrency=1), tmp_path)
    found = {}
    with pytest.raises(UserError, match=why) as error:
        for index, outcome in one.stream(asked("a", "b", "c", "d")):
            found[index] = outcome
    assert "\n" not in str(error.value) and str(tmp_path / "server.log") in str(error.value)
    assert len(found) == (0 if ends == "start" else 2)
    one.close()
    assert ended(processes())


def test_the_programs_get_the_settings(tmp_path, settings):
    served = Served(tmp_path, "m", 3)
    given = settings(window=4096, concurrency=9, serve_gpus=2, serve_options=["--dtype=bfloat16"])
    words = " ".join(command(given, served, 80))
    assert re.fullmatch(
        rf"\S*/vllm serve {tmp_path} --served-model-name m --max-model-len 4096 --max-num-seqs 9 --generation-config vllm "
        r"--tensor-parallel-size 2 --host 127\.0\.0\.1 --port 80 --dtype=bfloat16", words,
    )  # fmt: skip
    (tmp_path / "m-00001-of-00002.gguf").touch()
    (tmp_path / "m-00002-of-00002.gguf").touch()
    own = EndpointSettings(endpoint_serve="llama_cpp")
    assert " ".join(command(own, served, 80)).endswith(
        f"--model {tmp_path}/m-00001-of-00002.gguf --alias m --ctx-size 32768 --parallel 4 --threads 3 --host 127.0.0.1 --port 80"
    )
    for wrong, why in [
        ({"serve_program": "no-such-program"}, "no program no-such-program here; install it, or set the path"),
        ({"serve": "llama_cpp", "serve_options": ["--x"]}, "serve_options need llama.cpp's program"),
    ]:
        values = {"endpoint_serve": "vllm"} | {f"endpoint_{name}": value for name, value in wrong.items()}
        with pytest.raises(UserError, match=why):
            command(EndpointSettings(**values), served, 80)


@pytest.mark.parametrize(
    "said",
    [
        "OSError: [Errno 98] error while attempting to bind on address: address already in use",
        "E srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 1",
    ],
)
def test_another_port_is_tried_where_one_is_taken(said, settings, processes, tmp_path, monkeypatch):
    given = settings()
    program = Path(given.endpoint_serve_program)
    taken = f'#!/bin/sh\ncase "$*" in *"--port 1") echo "{said}"; exit 1; esac\n'
    program.write_text(program.read_text().replace("#!/bin/sh\n", taken))
    ports = iter([1, child._free_port()])
    monkeypatch.setattr(child, "_free_port", lambda: next(ports))
    one = client(given, tmp_path)
    assert dict(one.stream(asked("a"))) == {0: Answer("A")}
    one.close()
    assert ended(processes())


def test_a_server_that_never_answers_is_given_up(settings, tmp_path, monkeypatch):
    given = settings()
    Path(given.endpoint_serve_program).write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(child, "_PATIENCE", 0.3)
    own = Server(given, Served(tmp_path, "m", 1), tmp_path / "server.log")
    with pytest.raises(UserError, match=r"vllm's server of m does not answer after .*server.log"):
        own.start()
    assert own._process is None


def test_another_program_on_the_port_is_no_server(settings, tmp_path):
    own = Server(settings(), Served(tmp_path, "m", 1))
    for said in (b"SSH-2.0-other\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 99_999, b""):
        with socket.create_server(("127.0.0.1", 0)) as other:
            own.url = f"http://127.0.0.1:{other.getsockname()[1]}/v1"

            def talk(other=other, said=said):
                with other.accept()[0] as connection:
                    connection.recv(4096)
                    connection.sendall(said)

            talking = threading.Thread(target=talk)
            talking.start()
            assert own._answers() is False
            talking.join()


def test_the_quantizations_of_a_repository_share_no_answers(tmp_path):
    (tmp_path / "m-Q4.gguf").touch()
    one = EndpointSettings(endpoint_serve="llama_cpp")
    made = [Client(one, "m", Answers(None), Server(one, Served(tmp_path, "m", 1))) for _ in range(2)]
    (request,) = asked("a")
    keys = {client.key(request) for client in made}
    (tmp_path / "m-Q4.gguf").rename(tmp_path / "m-Q8.gguf")
    keys.add(Client(one, "m", Answers(None), Server(one, Served(tmp_path, "m", 1))).key(request))
    assert len(keys) == 2
