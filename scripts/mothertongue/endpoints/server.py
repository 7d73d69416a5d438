"""A job's own server: vLLM or llama.cpp with a fetched model, started when the first request needs it.

It listens on loopback, with a key of its own, and ends with the job; see child.py.
"""

from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.endpoints.child import HOST, LLAMA_CPP, Child, find_program, options_of
from mothertongue.endpoints.settings import EndpointSettings

_PROGRAM = "endpoint.serve_program"
# Conversations that llama.cpp answers at once: more are slower on a CPU, and each takes the memory of a window.
_MOST_AT_ONCE = 4


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
    options = [str(option) for option in settings.endpoint_serve_options]
    if settings.endpoint_serve == "llama_cpp":
        own = list(LLAMA_CPP)
        program = [find_program(settings.endpoint_serve_program, _PROGRAM)] if settings.endpoint_serve_program else own
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
        program = [find_program(settings.endpoint_serve_program or "vllm", _PROGRAM), "serve", str(served.folder)]
        named = {
            "served-model-name": served.name,
            "max-model-len": settings.endpoint_window,
            "max-num-seqs": at_once(settings),
            # Requests say how an answer is chosen, not the model's folder.
            "generation-config": "vllm",
        }
        if settings.endpoint_serve_gpus > 1:
            named["tensor-parallel-size"] = settings.endpoint_serve_gpus
    named |= {"host": HOST, "port": port}
    return [*program, *options_of(named), *options]


class Server(Child):
    """A server by the settings, for this process alone. Nothing runs before `start`."""

    def __init__(self, settings: EndpointSettings, served: Served, output: Path | None = None) -> None:
        """`output` is the file for what the server prints; a temporary one where there is none."""
        # The name of the model's file, where its repository may have others; else empty.
        self.file = _gguf(served.folder).name if settings.endpoint_serve == "llama_cpp" else ""
        super().__init__(
            settings.endpoint_serve or "",
            served.name,
            lambda port: command(settings, served, port),
            output,
            (settings.endpoint_key_variable,),
        )


def _gguf(folder: Path) -> Path:
    """Return the GGUF file in a model's folder, the first of its parts. Raise UserError where there is none."""
    if files := sorted(folder.glob("*.gguf")):
        return files[0]
    raise UserError(f"{folder}: no GGUF file in it, which llama.cpp needs")
