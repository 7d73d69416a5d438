"""A server that this process starts for itself, vLLM's or llama.cpp's: on loopback, with a key of its own.

It ends with the process that started it, however that ends; see supervisor.py.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import weakref
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

from mothertongue.common.errors import UserError, without_hub
from mothertongue.common.progress import duration, log

HOST = "127.0.0.1"
_HERE = Path(__file__).parent
LLAMA_CPP = (sys.executable, "-P", str(_HERE / "llama_cpp_server.py"))
# The environment variables that have a server's key, and those that keep vLLM from the network.
_KEYS = ("VLLM_API_KEY", "LLAMA_API_KEY")
_OFFLINE = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
# Seconds between two looks whether a server answers, for one answer, and between two lines about it.
_PAUSE, _TIMEOUT, _SAID_EVERY = 0.2, 5.0, 60.0
# How often another port is tried: between the choice of a port and its use, another program may take it.
_ATTEMPTS = 3
# What the servers print then: vLLM, and llama.cpp.
_PORT_TAKEN = re.compile(r"in use|couldn't bind")
# Seconds that a server may take to start: the largest models load for half an hour.
_PATIENCE = 7200.0
# Bytes of the end of a server's output that may tell why it ended, and where it does.
_TAIL = 65_536
_NO_REASON = re.compile(r"\b(?:DEBUG|INFO|WARNING)\b")
_REASON = re.compile(r"\b\w*(?:Error|Exception): |\berror\b", re.IGNORECASE)


class Child:
    """A server for this process alone. Nothing runs before `start`."""

    def __init__(
        self,
        kind: str,
        name: str,
        command: Callable[[int], Sequence[str]],
        output: Path | None = None,
        hidden: Sequence[str] = (),
    ) -> None:
        """Take what the server is called, and one of the models that it answers for by the name.

        `command` returns the command that serves on a port; it raises UserError where something is missing. `output` is
        the file for what the server prints; where there is none, one that stays only if the server fails. `hidden` are
        environment variables that it does not get.
        """
        self.kind, self.name = kind, name
        self._command, self._hidden = command, hidden
        self.key = secrets.token_urlsafe(32)
        folder = None if output else tempfile.mkdtemp(prefix="mothertongue-")
        self._removal = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True) if folder else None
        self._output = output or Path(str(folder), "server.log")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> str:
        """Start the server where it does not run, and wait until it answers; return its address.

        Raise UserError where it does not start.
        """
        if self._process is None:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._start(_free_port())
                    break
                except UserError:
                    self.stop()
                    if attempt == _ATTEMPTS or not _PORT_TAKEN.search(self._printed()):
                        raise
        return self.url

    def check(self) -> None:
        """Raise UserError where the server has ended, with its reason."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise self._failed(f"ended ({code}): {self._reason()}")

    def stop(self) -> None:
        """End the server and wait until it has ended."""
        if self._process is not None:
            process, self._process = self._process, None
            # The supervisor ends the server when its input ends.
            process.stdin.close()  # type: ignore[union-attr]
            process.wait()

    def _start(self, port: int) -> None:
        program = self._command(port)
        self.url = f"http://{HOST}:{port}/v1"
        self._output.parent.mkdir(parents=True, exist_ok=True)
        began = said = time.monotonic()
        log(f"{self.kind}: starts with {self.name}")
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", _HERE / "supervisor.py", *program],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                # What kills this process and those of its group leaves the supervisor to end the server.
                start_new_session=True,
            )
        while not self._answers():
            self.check()
            time.sleep(_PAUSE)
            if time.monotonic() - began > _PATIENCE:
                raise self._failed(f"does not answer after {duration(_PATIENCE)}")
            if time.monotonic() - said > _SAID_EVERY:
                said = time.monotonic()
                log(f"{self.kind}: starting for {duration(said - began)}; see {self._output}")
        log(f"{self.kind}: answers after {duration(time.monotonic() - began)}")

    def _failed(self, how: str) -> UserError:
        """Return the error of a server that fails. The file that it names stays."""
        if self._removal:
            self._removal.detach()
        return UserError(f"{self.kind}'s server of {self.name} {how}; all that it printed is in {self._output}")

    def _environment(self) -> dict[str, str]:
        """Return the server's environment: without the hub and what is hidden, with its own key."""
        kept = {name: value for name, value in without_hub(os.environ).items() if name not in self._hidden}
        return kept | _OFFLINE | dict.fromkeys(_KEYS, self.key)

    def _answers(self) -> bool:
        """Return whether the server answers, with its key, that it has the model."""
        request = urllib.request.Request(f"{self.url}/models", headers={"Authorization": f"Bearer {self.key}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT) as response:
                found = json.loads(response.read(_TAIL))
        except (OSError, ValueError, RecursionError, HTTPException):
            # Another program may have the port.
            return False
        models = found.get("data") if isinstance(found, Mapping) else None
        return isinstance(models, list) and any(
            isinstance(model, Mapping) and model.get("id") == self.name for model in models
        )

    def _printed(self) -> str:
        """Return the end of what the server printed."""
        if not self._output.exists():
            return ""
        with self._output.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read().decode(errors="replace").replace(self.key, "***")

    def _reason(self) -> str:
        """Return the first line that looks like the reason why the server ended, else its last line."""
        lines = [line.strip() for line in self._printed().splitlines() if line.strip()]
        reasons = [line for line in lines if _REASON.search(line) and not _NO_REASON.search(line)]
        return (reasons or lines[-1:] or ["it printed nothing"])[0]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port


def find_program(program: str, named_by: str) -> str:
    """Return the path of a program. Raise UserError where it is not here; `named_by` is the setting that names it."""
    if (path := shutil.which(program)) is None:
        raise UserError(
            f"{named_by}: no program {program} here; install it, or set the path of one, such as /opt/vllm/bin/vllm"
        )
    return path


def options_of(named: Mapping[str, object]) -> list[str]:
    """Return the options of a command by their names."""
    return [part for name, value in named.items() for part in (f"--{name}", str(value))]
