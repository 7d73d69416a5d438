"""Prompts: threads rendered in a chat template, as text and as tokens with a loss mask.

Templates are Jinja files, rendered as transformers renders them (see `rendering`), so that training, evaluation and
chat use the same text as any other program with the template. Ours mark the assistant's turns with `{% generation %}`.
Templates without these marks are rendered up to each answer to locate the spans, and rejected where that is not exact.
The text of a message never becomes a control token: `neutralise` breaks control strings, and `encode` checks the
result.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise, zip_longest
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_object
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.model_folders.reading import check_tokenizer
from mothertongue.prompts.rendering import CannotRender, Rendered, Span, renderer

Message = dict[str, str]  # role: system, user or assistant; content

# Control strings of the chat formats and tokenizers of all families: `<|im_start|>`, `[INST]`, `</s>`, `<bos>`, …
_CONTROL = (
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\]|<</?SYS>>"
    r"|</?s>|<(?:unk|pad|bos|eos|mask|cls|sep)>|<(?:start|end)_of_turn>"
)
# Added tokens, not marked special, that are ordinary text: markup (Gemma's), and the words and characters with which a
# vocabulary was extended for a language.
_HARMLESS = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|sub|sup|code|pre|p|br)>"
    r"|[\w\s▁'’-]+|(?s:.)"
)
_TOKENS = ("bos_token", "eos_token", "unk_token")
# Maximum number of passes of `neutralise`: overlapping control strings take several.
_PASSES = 8
# Number of characters at the end of a span in which its final control string is searched.
_LONGEST_END = 200
_SAMPLE = [
    {"role": "system", "content": "Responda em português."},
    {"role": "user", "content": "Olá! Quanto é 2 + 2?"},
    {"role": "assistant", "content": "São 4.\n\n- quatro"},
    {"role": "user", "content": "E 3 + 3?\nE 4 + 4?"},
    {"role": "assistant", "content": "São 6 e 8."},
    {"role": "user", "content": "Obrigada."},
    {"role": "assistant", "content": "De nada."},
]
_UNSAFE = [message | {"content": "Escreva <|im_end|>, [INST] e </s>."} for message in _SAMPLE[:3]]
# Without `{% generation %}` marks, conversations of at most _EACH_ANSWER answers are rendered up to each answer; longer
# ones are rendered for a sample of turns, of at most _SHAPES shapes: see `_found_in_long`.
_EACH_ANSWER = 8
_SHAPES = 16
# Maximum number of messages of the blank conversations whose control tokens are cached.
_REMEMBERED = 64
CHOICE = "choice.json"  # written by scripts/fetch_chat_template.py: the chosen template, and the reason
FORMATS = "llama2, llama3, mistral, chatml, gemma, phi3, zephyr, or a .jinja file of yours"


class UnmaskableTemplate(UserError):
    """A chat template in which the assistant's spans cannot be located exactly, for `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the chat template {reason}; choose another threads.prompt_format: {FORMATS}")
        self.reason = reason


class ControlText(UserError):
    """A conversation whose message text becomes control tokens, which could end or begin turns."""

    def __init__(self, token: str) -> None:
        super().__init__(
            f"a message becomes control tokens of the model ({token!r}) in this chat template; write it otherwise"
        )


@dataclass(frozen=True)
class Template:
    """A chat template and the special tokens (bos_token, eos_token, …) that it is rendered with.

    `control` are the control strings of its tokenizer, in addition to those of all families; `name` is the template's
    name in logs.
    """

    source: str
    tokens: dict[str, str] = field(default_factory=dict)
    control: tuple[str, ...] = ()
    name: str = ""

    @property
    def marks_assistant(self) -> bool:
        """Whether the template has `{% generation %}` marks."""
        return re.search(r"\{%-?\s*generation\s*-?%\}", self.source) is not None

    def objection(self) -> str | None:
        """Return why the assistant's spans cannot be located exactly in this template; None where they can.

        The test uses sample conversations with and without a system prompt.
        """
        if "strftime_now" in self.source:
            return "renders the date, so that the same threads would be another text tomorrow"
        for sample in (_SAMPLE, _SAMPLE[1:], _SAMPLE[:3], _UNSAFE):
            try:
                text, spans = _render(sample, self, (), False)
            except UnmaskableTemplate as error:
                return error.reason
            chat = _neutral(sample, self.control)
            for message in chat:
                if message["content"] not in text:
                    return f"changes or leaves out the text of the role '{message['role']}'"
            answers = [m["content"] for m in chat if m["role"] == "assistant"]
            marked = [text[start:end] for start, end in spans]
            if len(answers) != len(marked) or any(a not in m for a, m in zip(answers, marked, strict=True)):
                return "marks other text than the assistant's with {% generation %}"
        return None


@dataclass(frozen=True)
class Encoded:
    """A thread as tokens. `labels` are the assistant's tokens, and -100, which the loss ignores, at all others."""

    input_ids: list[int]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def targets(self) -> int:
        """The number of tokens that contribute to the loss."""
        return sum(label >= 0 for label in self.labels)

    def cut(self, length: int) -> "Encoded":
        """Return the thread truncated to `length` tokens."""
        return Encoded(self.input_ids[:length], self.labels[:length])


def read_template(path: Path) -> Template:
    """Read a template from a .jinja file, or from a model folder whose tokenizer has one.

    Raise UserError where there is none.
    """
    if path.is_file():
        return Template(_text(path), name=path.stem)
    if not path.is_dir():
        raise UserError(f"{path}: no such template")
    settings = check_tokenizer(path)
    choice = read_object(path / CHOICE) if (path / CHOICE).is_file() else {}
    own = path / "chat_template.jinja"
    source = _text(own) if own.is_file() else settings.get("chat_template")
    if not isinstance(source, str):
        raise UserError(f"{path}: this model has no chat template; set threads.prompt_format to one of {FORMATS}")
    tokens = {name: _content(settings[name]) for name in _TOKENS if settings.get(name)}
    control = _control(token for token in settings.get("added_tokens_decoder", {}).values())
    return Template(source, tokens, control, choice.get("template", path.name))


def with_tokens_of(template: Template, tokenizer: Any) -> Template:
    """Return the template with a tokenizer's special tokens, as training, evaluation and chat render it."""
    tokens = {name: token for name in _TOKENS if (token := getattr(tokenizer, name))}
    return replace(template, tokens=tokens, control=tuple(special_tokens(tokenizer)))


def render(messages: list[Message], template: Template, control: Iterable[str] = (), prompt: bool = False) -> str:
    """Render a thread as text; `prompt` adds the generation prompt. See `neutralise` for `control`."""
    return _render(messages, template, control, prompt)[0]


def neutralise(text: str, control: Iterable[str] = ()) -> str:
    """Insert a space after the first character of every control string, so that it cannot become a control token.

    `control` adds a tokenizer's special tokens to the strings of all families. An invisible character would not do:
    some tokenizers drop these. `encode` rejects the remaining cases: tokens that a space does not break (one letter and
    a space, say), and text that a tokenizer or a template changes into a control string.
    """
    pattern = _pattern(tuple(control))
    for _ in range(_PASSES):
        text, found = pattern.subn(lambda match: f"{match[0][0]} {match[0][1:]}", text)
        if not found:
            break
    return text


def system_prompt(messages: list[Message]) -> str:
    """Return the system prompt of a thread; empty where it has none."""
    return messages[0]["content"] if messages and messages[0]["role"] == "system" else ""


def chat(system: str, question: str, examples: Iterable[Message] = ()) -> list[Message]:
    """Return a conversation that ends with a question, after few-shot `examples`; `system` is empty for none."""
    before = [{"role": "system", "content": system}] if system else []
    return [*before, *examples, {"role": "user", "content": question}]


def special_tokens(tokenizer: Any) -> list[str]:
    """Return a tokenizer's control strings: its added tokens, except white space, and words and markup that are not
    special.
    """
    return list(_known(tokenizer).control)


def encode(messages: list[Message], template: Template, tokenizer: Any) -> Encoded:
    """Tokenize a thread; only the assistant's text and its end of turn have labels.

    Exactly one beginning-of-text token is added for tokenizers that use one. Raise ControlText where text of a message
    becomes a control token.
    """
    _, ids, labels, _ = _tokenized(messages, template, tokenizer)
    first = beginning(tokenizer)
    if first is not None and ids[:1] != [first]:
        ids, labels = [first, *ids], [-100, *labels]
    return Encoded(ids, labels)


def parts(messages: list[Message], template: Template, tokenizer: Any) -> list[tuple[str, bool]]:
    """Return the text that `encode` tokenizes in parts, each with whether it is learned; they meet between two tokens.

    The beginning-of-text token is part of the first where the tokenizer uses one. Raise ControlText as `encode` does.
    """
    text, ids, labels, starts = _tokenized(messages, template, tokenizer)
    found: list[tuple[str, bool]] = []
    for learned, run in groupby(range(len(ids)), key=lambda i: labels[i] >= 0):
        numbers = list(run)
        end = starts[numbers[-1] + 1] if numbers[-1] + 1 < len(ids) else len(text)
        found.append((text[starts[numbers[0]] : end], learned))
    first = beginning(tokenizer)
    if first is not None and ids[:1] != [first]:
        before = [] if found[0][1] else [found.pop(0)]
        found.insert(0, (tokenizer.bos_token + "".join(part for part, _ in before), False))
    return found


def _tokenized(
    messages: list[Message], template: Template, tokenizer: Any
) -> tuple[str, list[int], list[int], list[int]]:
    """Return a rendered thread with its tokens, their labels, and where each begins in the text."""
    known = _known(tokenizer)
    text, spans = _render(messages, template, known.control, False)
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = tokens["input_ids"], tokens["offset_mapping"]
    _check_control(ids, messages, template, tokenizer, False)
    labels = [-100] * len(ids)
    span = 0
    # A token may end after its span: some end-of-turn tokens include the white space after them.
    for i, (start, _) in enumerate(offsets):
        while span < len(spans) and start >= spans[span][1]:
            span += 1
        if span < len(spans) and start >= spans[span][0]:
            labels[i] = ids[i]
    return text, ids, labels, [start for start, _ in offsets]


def encode_known(
    threads: Iterable[Mapping[str, Any]], template: Template, tokenizer: Any
) -> Iterator[tuple[Mapping[str, Any], Encoded]]:
    """Yield threads with their tokens; skip, and log the number of, threads whose text becomes control tokens."""
    refused = 0
    for thread in threads:
        try:
            encoded = encode(thread["messages"], template, tokenizer)
        except ControlText:
            refused += 1
        else:
            yield thread, encoded
    if refused:
        log(f"warning: {refused:,} threads are left out: of each a message would become control tokens of the model")


def encoded_text(messages: list[Message], template: Template, tokenizer: Any) -> str:
    """Return the text that `encode` tokenizes, with the beginning-of-text token where the tokenizer uses one."""
    text = render(messages, template, special_tokens(tokenizer))
    wanted = beginning(tokenizer) is not None and not text.startswith(tokenizer.bos_token)
    return tokenizer.bos_token + text if wanted else text


def encode_prompt(messages: list[Message], template: Template, tokenizer: Any) -> list[int]:
    """Tokenize a conversation with the generation prompt. Raise ControlText where text becomes a control token."""
    known = _known(tokenizer)
    text = render(messages, template, known.control, prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    _check_control(ids, messages, template, tokenizer, True)
    return ids if known.first is None or ids[:1] == [known.first] else [known.first, *ids]


def encode_text(text: str, tokenizer: Any) -> list[int]:
    """Tokenize plain text, with the special tokens that the tokenizer adds. Raise ControlText as `encode` does."""
    ids = tokenizer(neutralise(text, special_tokens(tokenizer)))["input_ids"]
    blank = tokenizer("a" if text.strip() else "")["input_ids"]
    _check_same(_control_in(ids, tokenizer), _control_in(blank, tokenizer), tokenizer)
    return ids


def beginning(tokenizer: Any) -> int | None:
    """Return the beginning-of-text token that the tokenizer adds to a text; None where it adds none."""
    return _known(tokenizer).first


def end_of_turn(template: Template, tokenizer: Any) -> int:
    """Return the token that ends the assistant's turn: the last token with a label.

    Raise UserError where the tokenizer reads it as ordinary text: generation would stop wherever that text occurs.
    """
    encoded = encode([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], template, tokenizer)
    last = [label for label in encoded.labels if label >= 0][-1]
    known = {tokenizer.convert_tokens_to_ids(token) for token in special_tokens(tokenizer)} | {tokenizer.eos_token_id}
    if last not in known:
        raise UserError(
            f"the chat template ends the assistant's turn with text ('{tokenizer.decode([last])}') that is not a "
            "control token of this base model; choose another threads.prompt_format"
        )
    return last


def check_rows(template: Template, tokenizer: Any, rows: int | None) -> None:
    """Raise UserError where a template's tokens exceed the model's `rows` embeddings; None disables the check."""
    for messages in (_SAMPLE, _SAMPLE[1:]):
        check_known(encode(messages, template, tokenizer).input_ids, rows, tokenizer)


def check_known(ids: Iterable[int], rows: int | None, tokenizer: Any) -> None:
    """Raise UserError where a token id is not below the model's `rows` embeddings; None disables the check."""
    highest = max(ids, default=0)
    if rows is not None and highest >= rows:
        raise UserError(
            f"the tokenizer has tokens that the model does not know: '{tokenizer.convert_ids_to_tokens(highest)}' is"
            f" number {highest:,}, and the embeddings have {rows:,} rows; choose another threads.prompt_format, or"
            " another base model"
        )


@dataclass(frozen=True)
class _Known:
    """A tokenizer's control strings, their ids, and its beginning-of-text id: see `special_tokens` and `beginning`."""

    control: tuple[str, ...]
    ids: frozenset[int]
    first: int | None


def _known(tokenizer: Any) -> _Known:
    return _known_of(tokenizer, len(tokenizer), tokenizer.bos_token, *tokenizer.all_special_tokens)


@functools.lru_cache(maxsize=8)
def _known_of(tokenizer: Any, *_: Any) -> _Known:
    """Return the control strings and ids, cached by the tokenizer's state.

    With many thousand added tokens, computing them takes as long as tokenizing a thread.
    """
    added = tokenizer.added_tokens_decoder
    control = frozenset(_control({"content": token.content, "special": token.special} for token in added.values()))
    # The tokenizer maps unknown words to `unk`, which is therefore not a control token here.
    ids = {number for number, token in added.items() if token.content in control} - {tokenizer.unk_token_id}
    first = tokenizer("")["input_ids"][:1]
    begins = first and first[0] == tokenizer.bos_token_id
    return _Known(tuple(sorted(control)), frozenset(ids), first[0] if begins else None)


def _check_control(ids: list[int], messages: list[Message], template: Template, tokenizer: Any, prompt: bool) -> None:
    """Raise ControlText where the control tokens differ from those of the same turns with placeholder texts."""
    # Templates may omit empty messages: only texts that are not empty get a placeholder.
    turns = tuple((message["role"], "a" if message["content"].strip() else "") for message in messages)
    expect = _remembered_control if len(turns) <= _REMEMBERED else _expected_control
    tokens = tuple(sorted(template.tokens.items()))
    expected = expect(turns, template.source, tokens, tokenizer, _known(tokenizer), prompt)
    _check_same(_control_in(ids, tokenizer), expected, tokenizer)


def _check_same(found: list[int], expected: list[int], tokenizer: Any) -> None:
    """Raise ControlText with the first differing control token where two sequences differ."""
    if found != expected:
        differing = next(b if a is None else a for a, b in zip_longest(found, expected) if a != b)
        raise ControlText(tokenizer.convert_ids_to_tokens(differing))


def _control_in(ids: list[int], tokenizer: Any) -> list[int]:
    return list(filter(_known(tokenizer).ids.__contains__, ids))


def _expected_control(
    turns: tuple[tuple[str, str], ...],
    source: str,
    tokens: tuple[tuple[str, str], ...],
    tokenizer: Any,
    _known: _Known,
    prompt: bool,
) -> list[int]:
    """Return the control tokens of a conversation of placeholders; `_known` is part of the cache key."""
    chat = [{"role": role, "content": content} for role, content in turns]
    [(text, _)] = _texts(chat, Template(source, dict(tokens)), [(len(turns), prompt)])
    return _control_in(tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer)


_remembered_control = functools.lru_cache(maxsize=1024)(_expected_control)


def _render(messages: list[Message], template: Template, control: Iterable[str], prompt: bool) -> Rendered:
    """Render a text with the assistant's spans (in characters); without spans for a prompt.

    Raise UnmaskableTemplate where the spans cannot be located.
    """
    control = (*template.control, *control)
    chat = _neutral(messages, control)
    if prompt:
        [(text, _)] = _texts(chat, template, [(len(chat), True)])
        return text, []
    ends = _pattern((*control, *template.tokens.values()))
    if template.marks_assistant:
        [(text, spans)] = _texts(chat, template, [(len(chat), False)])
        return text, _marked(text, spans, re.compile(rf"(?:{ends.pattern})\Z"))
    return _found(chat, template, re.compile(rf"\s*(?:{ends.pattern})"))


def _neutral(messages: list[Message], control: tuple[str, ...]) -> list[Message]:
    """Return the messages for a template: control strings neutralised, answers stripped.

    White space around an answer would merge with the template's own, and generation prompts would then differ from the
    training data.
    """
    chat = [{"role": m["role"], "content": neutralise(m["content"], control)} for m in messages]
    return [m | {"content": m["content"].strip()} if m["role"] == "assistant" else m for m in chat]


def _texts(chat: list[Message], template: Template, wanted: list[tuple[int, bool]]) -> list[Rendered]:
    """Render prefixes of a conversation: see `Renderer.render`. Raise UnmaskableTemplate where that fails."""
    try:
        return renderer(template.source).render(chat, template.tokens, wanted)
    except CannotRender as error:
        raise UnmaskableTemplate(str(error)) from None


def _marked(text: str, spans: list[Span], end: re.Pattern[str]) -> list[Span]:
    """Return the marked spans without white space after the end-of-turn token."""
    stripped = [(start, start + len(text[start:end].rstrip())) for start, end in spans]
    return [
        (start, short if end.search(text, max(start, short - _LONGEST_END), short) else long)
        for (start, long), (_, short) in zip(spans, stripped, strict=True)
    ]


def _found(chat: list[Message], template: Template, ends: re.Pattern[str]) -> Rendered:
    """Return the text and the spans of a template without marks: each from the end of the prompt to the end of turn."""
    answers = [i for i, message in enumerate(chat) if message["role"] == "assistant"]
    if len(answers) > _EACH_ANSWER:
        return _found_in_long(chat, answers, template, ends)
    text, spans = _found_at(chat, answers, template, ends)
    return text, list(spans.values())


def _found_at(
    chat: list[Message], answers: Iterable[int], template: Template, ends: re.Pattern[str]
) -> tuple[str, dict[int, Span]]:
    """Return the text and the spans of some answers, from two renderings for each: its prompt, and through its turn."""
    wanted = [(len(chat), False)] + [part for i in answers for part in ((i, True), (i + 1, False))]
    (text, _), *parts = _texts(chat, template, wanted)
    befores, uptos = ([part for part, _ in parts[first::2]] for first in (0, 1))
    spans = {}
    for i, before, upto in zip(answers, befores, uptos, strict=True):
        content = chat[i]["content"]
        start = len(before)
        said = start + len(upto[start:]) - len(upto[start:].lstrip())
        end = ends.match(upto, said + len(content))
        if not upto.startswith(before):
            raise UnmaskableTemplate(
                "renders what stands before an answer otherwise than in its prompt for that answer"
            )
        if not upto.startswith(content, said):
            raise UnmaskableTemplate("puts text of its own before the assistant's text")
        if not end:
            raise UnmaskableTemplate("has no control token right after the assistant's text")
        if text[: end.end()] != upto[: end.end()]:
            raise UnmaskableTemplate("renders a turn otherwise when others follow it")
        spans[i] = (start, end.end())
    return text, spans


def _found_in_long(chat: list[Message], answers: list[int], template: Template, ends: re.Pattern[str]) -> Rendered:
    """Return the text and the spans of a conversation of any length, in linear time.

    Rendering the same turns with placeholders gives the template's strings between the texts. `_found_at` locates one
    answer of each shape (the strings right before and after it), the last answer, and those whose numbers are powers of
    two; the other spans begin and end as those of their shape. Raise UnmaskableTemplate where the text does not consist
    of these parts, or where there are too many shapes.
    """
    between = _between(chat, template)
    shapes = {i: (between[i], between[i + 1], bool(chat[i]["content"])) for i in answers}
    first = {shape: i for i, shape in reversed(shapes.items())}
    if len(first) > _SHAPES:
        raise UnmaskableTemplate(
            "renders the turns of a long conversation in too many ways to tell the assistant's words"
        )
    checked = {*first.values(), answers[-1], *(answers[2**k - 1] for k in range(len(answers).bit_length()))}
    text, spans = _found_at(chat, sorted(checked), template, ends)
    said = _said(chat, text, between)
    around = {shape: (spans[i][0] - said[i][0], spans[i][1] - said[i][1]) for shape, i in first.items()}
    found = {i: (said[i][0] + around[shape][0], said[i][1] + around[shape][1]) for i, shape in shapes.items()}
    if any(found[i] != span for i, span in spans.items()) or any(a[1] > b[0] for a, b in pairwise(found.values())):
        raise UnmaskableTemplate("renders turns that look alike in different ways")
    return text, list(found.values())


def _between(chat: list[Message], template: Template) -> list[str]:
    """Return the strings that the template puts before, between and after the texts of a conversation."""
    marks = [message | {"content": f"\ue000{i}\ue001"} for i, message in enumerate(chat)]
    [(text, _)] = _texts(marks, template, [(len(chat), False)])
    parts = re.split(r"\ue000(\d+)\ue001", text)
    if parts[1::2] != [str(i) for i in range(len(chat))]:
        raise UnmaskableTemplate("changes, leaves out or repeats messages of a long conversation")
    return parts[::2]


def _said(chat: list[Message], text: str, between: list[str]) -> list[Span]:
    """Return the span of each message in a text, whole or stripped."""
    spans, at = [], len(between[0])
    for message, behind in zip(chat, between[1:], strict=True):
        content = message["content"]
        for form in (content, content.strip(), content.rstrip(), content.lstrip()):
            end = at + len(form)
            if text.startswith(form, at) and text.startswith(behind, end):
                break
        else:
            raise UnmaskableTemplate("changes the text of a message in a long conversation")
        spans.append((at, end))
        at = end + len(behind)
    if not text.startswith(between[0]) or at != len(text):
        raise UnmaskableTemplate("renders a long conversation otherwise than the same turns of other words")
    return spans


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start:,})") from None


def _content(token: str | dict[str, Any]) -> str:
    return token["content"] if isinstance(token, dict) else token


def _control(added: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the sorted control strings among a tokenizer's added tokens, which text must not become."""
    return tuple(
        sorted(
            content
            for token in added
            if (content := token["content"]).strip()
            and (token.get("special", True) or not _HARMLESS.fullmatch(content))
        )
    )


@functools.lru_cache(maxsize=16)
def _pattern(control: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern for the control strings that a space after the first character breaks, the longest first."""
    breakable = {token for token in control if len(token) > 1 and token not in f"{token[0]} {token[1:]}"}
    return re.compile("|".join([f"(?i:{_CONTROL})", *([_any_of(breakable)] if breakable else [])]))


def _any_of(tokens: set[str], depth: int = 20) -> str:
    """Return a regular expression that matches the longest of some strings, as a trie of at most `depth` characters.

    A plain alternation would compare every position of a text with thousands of strings, as for Gemma's tokenizer.
    """
    if len(tokens) == 1 or not depth:
        return "|".join(map(re.escape, sorted(tokens, key=lambda token: (-len(token), token))))
    rests: dict[str, set[str]] = {}
    for token in tokens - {""}:
        rests.setdefault(token[0], set()).add(token[1:])
    alternatives = [f"{re.escape(first)}(?:{_any_of(rest, depth - 1)})" for first, rest in sorted(rests.items())]
    return "|".join([*alternatives, ""] if "" in tokens else alternatives)
