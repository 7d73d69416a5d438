"""Chat templates rendered in a process of their own, under a limit of time, memory and length.

A chat template is a program of whoever published the model. Jinja's sandbox keeps it from files and from Python's
internals, but not from looping for ever or filling the memory; only the operating system can. So one process renders
each template, for as many conversations as there are. It has the environment of transformers' own templates (tests
compare the two), with one difference: finding the `{% generation %}` blocks takes time in line with the text.
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

# CPU time: compiling the longest templates of known models takes 0.1 s, rendering a message 10 microseconds. What a
# conversation does not use of its share is left to the next ones of the same template.
_SECONDS = 3.0
_SECONDS_A_MESSAGE = 1e-3
_SECONDS_A_CHARACTER = 1e-6
# Bytes of memory: the interpreter needs 40 MB; the conversation is in it several times, in 4 bytes a character at most.
_MEMORY = 512 * 2**20
_MEMORY_A_BYTE = 64
# Characters of a rendered text: room for a system prompt of the template's own, the texts twice, and what stands
# around them.
_CHARACTERS = 100_000
_CHARACTERS_A_MESSAGE = 1_000
_CHARACTERS_A_CHARACTER = 2
# Of what a template says went wrong.
_LONGEST_REASON = 200


class CannotRender(Exception):
    """A conversation that a template does not render, or not within the limits. Its message has no subject."""


class Renderer:
    """A template's own process, started when it is first needed."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._owner = 0
        self._end: weakref.finalize | None = None

    def render(
        self, messages: Sequence[dict[str, str]], tokens: dict[str, str], wanted: Iterable[tuple[int, bool]]
    ) -> list[Rendered]:
        """The texts of the first messages of a conversation, as many as each of `wanted` says, and the spans
        (characters) of the `{% generation %}` blocks in each.

        The second of `wanted` is whether the text ends where the assistant is to answer; `tokens` are the special
        tokens by name. Raises CannotRender where the template fails or is stopped.
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
        # A stranger's program has no business with the hub's token, even where it cannot reach it.
        tokens = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
        environment = {name: value for name, value in os.environ.items() if name not in tokens}
        # -P: the library's folder is not where this process is to look for Python's own modules.
        process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert process.stdin and process.stdout  # pipes, as asked for
        self._process, self._requests, self._answers = process, process.stdin, process.stdout
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _kill, self._process, self._owner)
        self._write(self._source)

    def _ask(self, request: Any) -> bytes:
        """The line that answers a request; empty where the process has ended."""
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
    """The renderer of a template, the same for the same source."""
    return Renderer(source)


def _kill(process: subprocess.Popen, owner: int) -> None:
    if os.getpid() != owner:  # a fork's copy of what is another's
        return
    process.kill()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):  # of what it had not read yet
            if stream:
                stream.close()
    process.wait()


# What follows runs in the process of a template.


class _Environment(ImmutableSandboxedEnvironment):
    """An environment of templates that keeps, of the text being rendered, its length and the spans so far."""

    spans: list[Span]
    written: int


class _Generation(Extension):
    """`{% generation %}` … `{% endgeneration %}`, which note where in the text their content stands."""

    environment: _Environment
    tags: ClassVar[set[str]] = {"generation"}  # type: ignore[misc]  # jinja2 declares it as an instance's

    def parse(self, parser: Parser) -> nodes.Node:
        """What the tags become: a call that is given their content."""
        line = next(parser.stream).lineno
        content = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_note"), [], [], content).set_lineno(line)

    def _note(self, caller: Any) -> str:
        text = caller()
        self.environment.spans.append((self.environment.written, self.environment.written + len(text)))
        return text


class _Dict:
    """Python's dict, of which a template can make new ones and nothing else."""

    def __call__(self, *values: Any, **named: Any) -> dict:
        return dict(*values, **named)

    def fromkeys(self, *values: Any) -> dict:
        return dict.fromkeys(*values)


class _Namespace(Namespace):
    """Jinja's namespace, without names that begin with an underscore."""

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
    """What a chat template can use: the same as transformers gives it."""

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
    """One text and its spans. Raises ValueError where it grows too long."""
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
    """The template, compiled where it was not, and the answer to a request."""
    try:
        template = template or _environment().from_string(source)
        messages, tokens = request["messages"], request["tokens"]
        rendered = [_render(template, messages[:count], tokens, prompt) for count, prompt in request["wanted"]]
        return template, json.dumps({"rendered": rendered})
    except MemoryError:
        reason = "it needs more memory than a template may"
    except RecursionError:
        reason = "it calls itself without an end"
    except Exception as error:  # whatever a stranger's program raises
        reason = str(error.args[-1]) if error.args else type(error).__name__
    plain = "".join(character if character.isprintable() else " " for character in reason[:_LONGEST_REASON])
    return template, json.dumps({"error": f"cannot render a thread ({plain})"})


def _serve() -> None:
    """Answer requests, a line each, until the input ends; the kernel ends a process that overruns its time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, at whose end the input ends
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    lines, answers = sys.stdin.buffer, sys.stdout.buffer
    source, template, seconds = json.loads(lines.readline()), None, _SECONDS
    while line := lines.readline():
        request = json.loads(line)
        for count, _ in request["wanted"]:
            size = sum(len(message["content"]) for message in request["messages"][:count])
            seconds += count * _SECONDS_A_MESSAGE + size * _SECONDS_A_CHARACTER
        memory = _MEMORY + _MEMORY_A_BYTE * len(line)
        resource.setrlimit(resource.RLIMIT_AS, (memory if hard < 0 else min(memory, hard), hard))
        signal.setitimer(signal.ITIMER_PROF, seconds)
        template, answer = _answer(source, template, request)
        seconds = signal.setitimer(signal.ITIMER_PROF, 0)[0]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        answers.write(answer.encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
