"""A job's own server: vLLM or llama.cpp with a fetched model, started when the first request needs it.

It listens on loopback, with a key of its own, and ends with the job; see supervisor.py.
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
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from mothertongue.common.errors import UserError, without_hub
from mothertongue.common.progress import duration, log
from mothertongue.endpoints.settings import EndpointSettings

_HERE = Path(__file__).parent
_HOST = "127.0.0.1"
# The environment variables that have a server's key, and those that keep vLLM from the network.
_KEYS = ("VLLM_API_KEY", "LLAMA_API_KEY")
_OFFLINE = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
# Seconds between two looks whether a server answers, for one answer, and between two lines about it.
_PAUSE, _TIMEOUT, _SAID_EVERY = 0.2, 5.0, 60.0
# Seconds that a server may take to start: the largest models load for half an hour.
_PATIENCE = 7200.0
# How often another port is tried: between the choice of a port and its use, another program may take it.
_ATTEMPTS = 3
# What the servers print then: vLLM, and llama.cpp.
_PORT_TAKEN = re.compile(r"in use|couldn't bind")
# Conversations that llama.cpp answers at once: more are slower on a CPU, and each takes the memory of a window.
_MOST_AT_ONCE = 4
# Bytes of the end of a server's output that may tell why it ended, and where it does.
_TAIL = 65_536
_REASON = re.compile(r"\b\w*(?:Error|Exception): |\berror\b", re.IGNORECASE)


@dataclass(frozen=True)
class Served:
    """What is served: the model's folder, its name in requests, and the threads that a CPU may use for it."""

    folder: Path
    name: str
    threads: int


def at_once(settings: EndpointSettings) -> int:
    """Return how many requests are sent at once to a server of one's own."""
    most = _MOST_AT_ONCE if settings.endpoint_serve == "llama_cpp" else settings.endpoint_concurrency
    return min(settings.endpoint_concurrency, most)


def command(settings: EndpointSettings, served: Served, port: int) -> list[str]:
    """Return the command that serves a model on a port. Raise UserError where the program or the model is missing."""
    options = [str(option) for option in settings.endpoint_serve_options or ()]
    if settings.endpoint_serve == "llama_cpp":
        own = [sys.executable, "-P", str(_HERE / "llama_cpp_server.py")]
        program = [_found(settings.endpoint_serve_program)] if settings.endpoint_serve_program else own
        if program == own and options:
            raise UserError("endpoint.serve_options need llama.cpp's program: set endpoint.serve_program: llama-server")
        named = {
            "model": _gguf(served.folder),
            "alias": served.name,
            "ctx-size": settings.endpoint_window * at_once(settings),
            "parallel": at_once(settings),
            "threads": served.threads,
        }
    else:
        program = [_found(settings.endpoint_serve_program or "vllm"), "serve", str(served.folder)]
        named = {
            "served-model-name": served.name,
            "max-model-len": settings.endpoint_window,
            "max-num-seqs": at_once(settings),
            # Requests say how an answer is chosen, not the model's folder.
            "generation-config": "vllm",
        }
        if settings.endpoint_serve_gpus > 1:
            named["tensor-parallel-size"] = settings.endpoint_serve_gpus
    named |= {"host": _HOST, "port": port}
    return [*program, *(part for name, value in named.items() for part in (f"--{name}", str(value))), *options]


class Server:
    """A server for this process alone. Nothing runs before `start`."""

    def __init__(self, settings: EndpointSettings, served: Served, output: Path | None = None) -> None:
        """`output` is the file for what the server prints; a temporary one where there is none."""
        self.settings, self.served = settings, served
        self.key = secrets.token_urlsafe(32)
        self._folder = None if output else tempfile.TemporaryDirectory()
        self._output = output or Path(self._folder.name, "server.log")  # type: ignore[union-attr]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def file(self) -> str:
        """The name of the model's file that is served, where its repository may have others; else empty."""
        return _gguf(self.served.folder).name if self.settings.endpoint_serve == "llama_cpp" else ""

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
            raise UserError(
                f"{self.settings.endpoint_serve}'s server of {self.served.name} ended ({code}): {self._reason()}; all "
                f"that it printed is in {self._output}"
            )

    def stop(self) -> None:
        """End the server and wait until it has ended."""
        if self._process is not None:
            process, self._process = self._process, None
            # The supervisor ends the server when its input ends.
            process.stdin.close()  # type: ignore[union-attr]
            process.wait()

    def _start(self, port: int) -> None:
        program = command(self.settings, self.served, port)
        self.url = f"http://{_HOST}:{port}/v1"
        self._output.parent.mkdir(parents=True, exist_ok=True)
        began = said = time.monotonic()
        log(f"{self.settings.endpoint_serve}: starts with {self.served.name}")
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
                raise UserError(
                    f"{self.settings.endpoint_serve}'s server of {self.served.name} does not answer after "
                    f"{duration(_PATIENCE)}; all that it printed is in {self._output}"
                )
            if time.monotonic() - said > _SAID_EVERY:
                said = time.monotonic()
                log(f"{self.settings.endpoint_serve}: starting for {duration(said - began)}; see {self._output}")
        log(f"{self.settings.endpoint_serve}: answers after {duration(time.monotonic() - began)}")

    def _environment(self) -> dict[str, str]:
        """Return the server's environment: without the hub and the key of another endpoint, with its own."""
        kept = without_hub(os.environ)
        kept.pop(self.settings.endpoint_key_variable, None)
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
            isinstance(model, Mapping) and model.get("id") == self.served.name for model in models
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
        reasons = [line for line in lines if _REASON.search(line)]
        return (reasons or lines[-1:] or ["it printed nothing"])[0]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port: int = free.getsockname()[1]
        return port


def _found(program: str) -> str:
    """Return the path of a program. Raise UserError where it is not here."""
    if (path := shutil.which(program)) is None:
        raise UserError(
            f"endpoint.serve_program: no program {program} here; install it, or set the path of one, such as "
            "/opt/vllm/bin/vllm"
        )
    return path


def _gguf(folder: Path) -> Path:
    """Return the GGUF file in a model's folder, the first of its parts. Raise UserError where there is none."""
    if files := sorted(folder.glob("*.gguf")):
        return files[0]
    raise UserError(f"{folder}: no GGUF file in it, which llama.cpp needs")
