"""Rendering of chat templates in a subprocess, with limits on CPU time, memory and text length.

A chat template is untrusted code from the model's publisher. Jinja's sandbox denies it files and Python's internals,
but does not prevent endless loops or memory exhaustion; only the operating system can. One process per template
renders all of its conversations. Its Jinja environment is that of transformers (tests compare the two), except that
locating `{% generation %}` blocks takes time linear in the text.
"""

import contextlib
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

Span = tuple[int, int]
Rendered = tuple[str, list[Span]]

# Limits of CPU time: compiling the longest templates of known models takes 0.1 s, rendering a message 10 microseconds.
# The time that a conversation leaves unused is carried over to the next ones of the same template.
_SECONDS = 3.0
_SECONDS_A_MESSAGE = 1e-3
_SECONDS_A_CHARACTER = 1e-6
# Limits of memory in bytes: the interpreter needs 40 MB, and holds several copies of the conversation at up to 4 bytes
# a character.
_MEMORY = 512 * 2**20
_MEMORY_A_BYTE = 64
# Limits of the rendered text in characters: the template's own system prompt, the texts twice, and markup around them.
_CHARACTERS = 100_000
_CHARACTERS_A_MESSAGE = 1_000
_CHARACTERS_A_CHARACTER = 2
# Characters of a template's error message.
_LONGEST_REASON = 200


class CannotRender(Exception):
    """A template's failure to render a conversation within the limits; the message is a predicate without subject."""


class Renderer:
    """The process that renders one template, started on first use."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._owner = 0
        self._end: weakref.finalize | None = None

    def render(
        self, messages: Sequence[dict[str, str]], tokens: dict[str, str], wanted: Iterable[tuple[int, bool]]
    ) -> list[Rendered]:
        """Render prefixes of a conversation: return each text with the spans of its `{% generation %}` blocks.

        `wanted` has one pair a text: the number of messages, and whether to add the generation prompt. Spans are in
        characters. `tokens` are the special tokens by name. Raise CannotRender where the template fails or its process
        is killed.
        """
        request = {"messages": messages, "tokens": tokens, "wanted": list(wanted)}
        with self._lock:
            if self._owner != os.getpid():  # the first use, or the first after a fork
                self._start()
            try:
                line = self._ask(request)
            except BaseException:
                self._stop()
                raise
            if not line:
                raise CannotRender(self._why_it_ended())
        answer = json.loads(line)
        if "error" in answer:
            raise CannotRender(answer["error"])
        return [(text, [(start, end) for start, end in spans]) for text, spans in answer["rendered"]]

    def _start(self) -> None:
        # Untrusted code must not get the hub's token, even though the sandbox hides it.
        tokens = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
        environment = {name: value for name, value in os.environ.items() if name not in tokens}
        # -P: keep this file's folder off sys.path, where its modules would shadow the standard library's.
        process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert process.stdin and process.stdout  # pipes, as asked for
        self._process, self._requests, self._answers = process, process.stdin, process.stdout
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _kill, self._process, self._owner)
        self._write({"source": self._source, "seconds": _SECONDS})

    def _ask(self, request: Any) -> bytes:
        """Send a request and return the response line; empty where the process has ended."""
        try:
            self._write(request)
            return self._answers.readline()
        except BrokenPipeError:
            return b""

    def _write(self, value: Any) -> None:
        self._requests.write(json.dumps(value).encode() + b"\n")
        self._requests.flush()

    def _why_it_ended(self) -> str:
        self._answers.close()
        code = self._process.wait()
        self._stop()
        if code == -signal.SIGPROF:
            return f"takes more time than a template may ({_SECONDS:g} s of computing for a short conversation)"
        return f"ends the process that renders it (exit code {code})"

    def _stop(self) -> None:
        self._owner = 0
        if self._end:
            self._end()


@functools.lru_cache(maxsize=8)
def renderer(source: str) -> Renderer:
    """Return the cached renderer of a template source."""
    return Renderer(source)


def _kill(process: subprocess.Popen, owner: int) -> None:
    if os.getpid() != owner:  # a fork must not kill its parent's process
        return
    process.kill()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):  # unread requests
            if stream:
                stream.close()
    process.wait()


# Everything below runs in the subprocess.


class _Environment(ImmutableSandboxedEnvironment):
    """A Jinja environment that tracks the length and the spans of the text being rendered."""

    spans: list[Span]
    written: int


class _Generation(Extension):
    """The `{% generation %}` … `{% endgeneration %}` block, which records the span of its content."""

    environment: _Environment
    tags: ClassVar[set[str]] = {"generation"}  # type: ignore[misc]  # jinja2 declares it as an instance's

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the block as a call to `_note` with the content as its body."""
        line = next(parser.stream).lineno
        content = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_note"), [], [], content).set_lineno(line)

    def _note(self, caller: Any) -> str:
        text = caller()
        self.environment.spans.append((self.environment.written, self.environment.written + len(text)))
        return text


class _Dict:
    """A stand-in for `dict` that only creates dictionaries, without access to the type."""

    def __call__(self, *values: Any, **named: Any) -> dict:
        return dict(*values, **named)

    def fromkeys(self, *values: Any) -> dict:
        return dict.fromkeys(*values)


class _Namespace(Namespace):
    """Jinja's namespace, which rejects names that begin with an underscore."""

    def __init__(self, /, *values: Any, **named: Any) -> None:
        names = dict(*values, **named)
        for name in names:
            _check_name(name)
        super().__init__(names)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace has no {name!r}")


def _environment() -> _Environment:
    """Return the Jinja environment that transformers gives chat templates."""

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment


def _render(template: Any, messages: list[dict[str, str]], tokens: dict[str, str], prompt: bool) -> Rendered:
    """Render one text with its spans. Raise ValueError where it exceeds the limit of characters."""
    environment: _Environment = template.environment
    environment.spans, environment.written = [], 0
    size = sum(len(message["content"]) for message in messages)
    most = _CHARACTERS + _CHARACTERS_A_CHARACTER * size + _CHARACTERS_A_MESSAGE * len(messages)
    blocks = []
    given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": prompt} | tokens
    for block in template.generate(**given):
        blocks.append(block)
        environment.written += len(block)
        if environment.written > most:
            raise ValueError(f"its text is longer than {most:,} characters")
    return "".join(blocks), environment.spans


def _answer(source: str, template: Any, request: Any) -> tuple[Any, Any]:
    """Return the template, compiled on first use, and the JSON response to a request."""
    try:
        template = template or _environment().from_string(source)
        messages, tokens = request["messages"], request["tokens"]
        rendered = [_render(template, messages[:count], tokens, prompt) for count, prompt in request["wanted"]]
        return template, json.dumps({"rendered": rendered})
    except MemoryError:
        reason = "it needs more memory than a template may"
    except RecursionError:
        reason = "it calls itself without an end"
    except Exception as error:  # untrusted code can raise anything
        reason = str(error.args[-1]) if error.args else type(error).__name__
    plain = "".join(character if character.isprintable() else " " for character in reason[:_LONGEST_REASON])
    return template, json.dumps({"error": f"cannot render a thread ({plain})"})


def _serve() -> None:
    """Answer requests, one a line, until stdin ends; SIGPROF kills the process when its CPU time is used up.

    The first line has the template's source and the CPU time in seconds for a short conversation.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C; stdin ends when it exits
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    lines, answers = sys.stdin.buffer, sys.stdout.buffer
    first, template = json.loads(lines.readline()), None
    seconds = first["seconds"]
    while line := lines.readline():
        request = json.loads(line)
        for count, _ in request["wanted"]:
            size = sum(len(message["content"]) for message in request["messages"][:count])
            seconds += count * _SECONDS_A_MESSAGE + size * _SECONDS_A_CHARACTER
        memory = _MEMORY + _MEMORY_A_BYTE * len(line)
        resource.setrlimit(resource.RLIMIT_AS, (memory if hard < 0 else min(memory, hard), hard))
        signal.setitimer(signal.ITIMER_PROF, seconds)
        template, answer = _answer(first["source"], template, request)
        seconds = signal.setitimer(signal.ITIMER_PROF, 0)[0]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        answers.write(answer.encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
