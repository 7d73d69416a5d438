"""Running the project's programs in forks of a process with torch and transformers loaded, to save ten seconds each.

`LoadedPrograms.python scripts/tune.py ...` asks that process to fork. The fork runs the same script with the same
arguments, environment, folder, stdin and outputs; signals are forwarded to it, and its exit code is returned.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from paths import ROOT
from preloaded import ended, freeze

# The programs that load torch, and neither use the hub nor measure their own imports.
PROGRAMS = ("tune", "evaluate", "merge", "perplexity", "calibrate", "calibrated_perplexity", "pivot", "translate",
    "chat", "serve")  # fmt: skip
MODULES = ("torch", "transformers", "peft", "datasets", "ctranslate2", "pandas", "matplotlib.pyplot")
SOCKET = "LOADED_PROGRAMS"
_PYTHON = """#!{python} -SI
import json, os, signal, socket, sys
name, directory = os.path.basename(sys.argv[1] if sys.argv[1:] else ""), os.environ.get("{socket}")
# What Python itself reads when it starts, the other process has not read.
told = {{name for name in os.environ if name.startswith("PYTHON")}} - {{"PYTHONNOUSERSITE", "PYTHON_OF_RULES"}}
if name not in {names} or not directory or told:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
    server.connect(directory)
    request = json.dumps({{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    program = int.from_bytes(server.recv(4), "big")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(program, number))
    answer = server.recv(4)
code = int.from_bytes(answer, "big", signed=True) if answer else -signal.SIGKILL
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class LoadedPrograms:
    """The running process, which loads the libraries in the background, and the `python` that sends requests to it."""

    def __init__(self, folder: Path):
        self.socket = folder / "socket"
        self.python = folder / "bin/python"
        self.python.parent.mkdir(parents=True)
        values = {"python": sys.executable, "socket": SOCKET, "names": [f"{name}.py" for name in PROGRAMS]}
        self.python.write_text(_PYTHON.format(**values))
        self.python.chmod(0o755)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(self.socket))
        listening.listen(64)
        with listening:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(listening.fileno())], cwd=ROOT, pass_fds=[listening.fileno()],
                stdin=subprocess.PIPE, env=os.environ | {"HF_MODULES_CACHE": os.devnull},
            )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        return {SOCKET: str(self.socket), "PYTHON_OF_RULES": str(self.python)}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def serve(listening: socket.socket) -> None:
    """Fork for each request; an intermediate process waits for the program and sends its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        client, _ = listening.accept()
        if os.fork():
            client.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listening.close()
        size, descriptors, _, _ = socket.recv_fds(client, 8, 3)
        request = json.loads(client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        program = os.fork()
        if not program:
            client.close()
            os._exit(ended(become, request, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        client.sendall(program.to_bytes(4, "big"))
        threading.Thread(target=kill_with, args=(client, program), daemon=True).start()
        code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
        with suppress(BrokenPipeError):  # the client may have ended
            client.sendall(code.to_bytes(4, "big", signed=True))
        os._exit(0)


def kill_with(client: socket.socket, program: int) -> None:
    """Kill a program when its client ends."""
    if not client.recv(1):
        os.kill(program, signal.SIGKILL)


def become(request: dict, descriptors: list[int]) -> None:
    """Run the requested program in this process."""
    import runpy

    import torch

    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # torch reads this variable only when it is imported.
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    import importlib

    for module in MODULES:
        importlib.import_module(module)
    freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
