"""Prompts: a thread rendered in a chat template, as text and as tokens with a loss mask.

Templates are Jinja files, rendered as transformers renders them (see `rendering`), so that training, evaluation and
chat see exactly what every other user of the template sees. Ours mark the assistant's part with `{% generation %}`;
where a template does not, the part is found by rendering the conversation up to each answer, and what cannot be found
exactly is refused. Text of a message never becomes a control token: see `neutralise`, and `encode`, which checks it.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_object
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.model_folders.reading import check_tokenizer
from mothertongue.prompts.rendering import CannotRender, Rendered, Span, renderer

Message = dict[str, str]  # role: system, user or assistant; content

# What chat formats and tokenizers read as structure, of all families: `<|im_start|>`, `[INST]`, `</s>`, `<bos>`, …
_CONTROL = (
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\]|<</?SYS>>"
    r"|</?s>|<(?:unk|pad|bos|eos|mask|cls|sep)>|<(?:start|end)_of_turn>"
)
# What tokenizers read as one token without calling it special, and is text as any other: markup (Gemma's), and the
# words and characters that people add to a vocabulary for their language.
_HARMLESS = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|sub|sup|code|pre|p|br)>"
    r"|[\w\s▁'’-]+|(?s:.)"
)
_TOKENS = ("bos_token", "eos_token", "unk_token")
# Texts that overlapping control strings are put apart in.
_PASSES = 8
# A control string that ends a span begins among so many of its last characters.
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
# A conversation of at most so many answers is rendered up to each of them where a template marks none. In a longer one
# turns that look alike, of at most so many shapes, are taken to be alike: see `_found_in_long`.
_EACH_ANSWER = 8
_SHAPES = 16
# Blank conversations of at most so many messages are rendered once for all.
_REMEMBERED = 64
CHOICE = "choice.json"  # in a folder that scripts/fetch_chat_template.py wrote: which template was taken, and why
FORMATS = "llama2, llama3, mistral, chatml, gemma, phi3, zephyr, or a .jinja file of yours"


class UnmaskableTemplate(UserError):
    """A chat template in which the assistant's part of a thread cannot be told exactly; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the chat template {reason}; choose another threads.prompt_format: {FORMATS}")
        self.reason = reason


class ControlText(UserError):
    """A conversation whose messages become control tokens, and so would end or begin turns of their own."""

    def __init__(self, token: str) -> None:
        super().__init__(
            f"a message becomes control tokens of the model ({token!r}) in this chat template; write it otherwise"
        )


@dataclass(frozen=True)
class Template:
    """A chat template and the special tokens (bos_token, eos_token, …) that it is rendered with.

    `control` are the strings that its tokenizer reads as one token, besides those known of all families; `name` is what
    a log calls the template.
    """

    source: str
    tokens: dict[str, str] = field(default_factory=dict)
    control: tuple[str, ...] = ()
    name: str = ""

    @property
    def marks_assistant(self) -> bool:
        """Whether the template says which text is the assistant's."""
        return re.search(r"\{%-?\s*generation\s*-?%\}", self.source) is not None

    def objection(self) -> str | None:
        """Why the assistant's words cannot be told apart exactly in this template; None where they can.

        Judged on a sample conversation, with and without a system prompt.
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
    """A thread as tokens. `labels` repeats the assistant's tokens and is -100, which the loss ignores, elsewhere."""

    input_ids: list[int]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def targets(self) -> int:
        """The number of tokens that the loss is taken on."""
        return sum(label >= 0 for label in self.labels)

    def cut(self, length: int) -> "Encoded":
        """The first `length` tokens."""
        return Encoded(self.input_ids[:length], self.labels[:length])


def read_template(path: Path) -> Template:
    """Read a template: a .jinja file, or the folder of a model whose tokenizer has one.

    Raises UserError where there is none.
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
    """The template with the special tokens of a tokenizer: what training, evaluation and chat all render."""
    tokens = {name: token for name in _TOKENS if (token := getattr(tokenizer, name))}
    return replace(template, tokens=tokens, control=tuple(special_tokens(tokenizer)))


def render(messages: list[Message], template: Template, control: Iterable[str] = (), prompt: bool = False) -> str:
    """A thread as text; `prompt` ends it where the assistant is to answer. See `neutralise` for `control`."""
    return _render(messages, template, control, prompt)[0]


def neutralise(text: str, control: Iterable[str] = ()) -> str:
    """The text with a space put into every control string, so that it can never become a control token.

    `control` adds a tokenizer's own special tokens to those known of all families. A space and no invisible
    character, since some tokenizers drop invisible ones. What a space does not put apart (a token of one letter and a
    space, say), or what a tokenizer's or a template's changes make a control string later, `encode` refuses.
    """
    pattern = _pattern(tuple(control))
    for _ in range(_PASSES):
        text, found = pattern.subn(lambda match: f"{match[0][0]} {match[0][1:]}", text)
        if not found:
            break
    return text


def system_prompt(messages: list[Message]) -> str:
    """The system prompt of a thread; empty where it has none."""
    return messages[0]["content"] if messages and messages[0]["role"] == "system" else ""


def chat(system: str, question: str, examples: Iterable[Message] = ()) -> list[Message]:
    """A conversation that asks a question, after earlier turns for examples; `system` empty for no system prompt."""
    before = [{"role": "system", "content": system}] if system else []
    return [*before, *examples, {"role": "user", "content": question}]


def special_tokens(tokenizer: Any) -> list[str]:
    """The strings that a tokenizer reads as one token whatever surrounds them, without those that do no harm: white
    space, words and markup.
    """
    return list(_known(tokenizer).control)


def encode(messages: list[Message], template: Template, tokenizer: Any) -> Encoded:
    """A thread as tokens; the loss falls on the assistant's text and its end of turn, nothing else.

    There is one beginning-of-text token where the tokenizer wants one. Raises ControlText where a message becomes a
    control token.
    """
    known = _known(tokenizer)
    text, spans = _render(messages, template, known.control, False)
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = tokens["input_ids"], tokens["offset_mapping"]
    _check_control(ids, messages, template, tokenizer, False)
    labels = [-100] * len(ids)
    span = 0
    # A token may end after its span: some end-of-turn tokens swallow the white space behind them.
    for i, (start, _) in enumerate(offsets):
        while span < len(spans) and start >= spans[span][1]:
            span += 1
        if span < len(spans) and start >= spans[span][0]:
            labels[i] = ids[i]
    if known.first is not None and ids[:1] != [known.first]:
        ids, labels = [known.first, *ids], [-100, *labels]
    return Encoded(ids, labels)


def encode_known(
    threads: Iterable[Mapping[str, Any]], template: Template, tokenizer: Any
) -> Iterator[tuple[Mapping[str, Any], Encoded]]:
    """Threads with their tokens; what of them would become control tokens is left out, which is said on stderr."""
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
    """The text that `encode` makes tokens of, with the beginning-of-text token where the tokenizer wants one."""
    text = render(messages, template, special_tokens(tokenizer))
    wanted = beginning(tokenizer) is not None and not text.startswith(tokenizer.bos_token)
    return tokenizer.bos_token + text if wanted else text


def encode_prompt(messages: list[Message], template: Template, tokenizer: Any) -> list[int]:
    """The tokens after which the assistant answers. Raises ControlText where a message becomes a control token."""
    known = _known(tokenizer)
    text = render(messages, template, known.control, prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    _check_control(ids, messages, template, tokenizer, True)
    return ids if known.first is None or ids[:1] == [known.first] else [known.first, *ids]


def encode_text(text: str, tokenizer: Any) -> list[int]:
    """The tokens of a text alone, with those that the tokenizer puts around it. Raises ControlText as `encode`."""
    ids = tokenizer(neutralise(text, special_tokens(tokenizer)))["input_ids"]
    blank = tokenizer("a" if text.strip() else "")["input_ids"]
    _check_same(_control_in(ids, tokenizer), _control_in(blank, tokenizer), tokenizer)
    return ids


def beginning(tokenizer: Any) -> int | None:
    """The beginning-of-text token that the tokenizer itself puts before a text; None where it puts none."""
    return _known(tokenizer).first


def end_of_turn(template: Template, tokenizer: Any) -> int:
    """The token that ends the assistant's turn: the last one that training learns.

    Raises UserError where it is ordinary text to the tokenizer: answers would stop wherever that text stands.
    """
    encoded = encode([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], template, tokenizer)
    last = [label for label in encoded.labels if label >= 0][-1]
    known = {tokenizer.convert_tokens_to_ids(token) for token in special_tokens(tokenizer)} | {tokenizer.eos_token_id}
    if last not in known:
        raise UserError(
            f"the chat template ends the assistant's turn with text ('{tokenizer.decode([last])}') that is no control "
            "token of this base model; choose another threads.prompt_format"
        )
    return last


def check_rows(template: Template, tokenizer: Any, rows: int | None) -> None:
    """Raise UserError where a template's own tokens are none of the `rows` tokens that a model knows; None for all."""
    for messages in (_SAMPLE, _SAMPLE[1:]):
        check_known(encode(messages, template, tokenizer).input_ids, rows, tokenizer)


def check_known(ids: Iterable[int], rows: int | None, tokenizer: Any) -> None:
    """Raise UserError where a token is none of the `rows` tokens that a model knows."""
    highest = max(ids, default=0)
    if rows is not None and highest >= rows:
        raise UserError(
            f"the tokenizer has tokens that the model does not know: '{tokenizer.convert_ids_to_tokens(highest)}' is"
            f" number {highest:,}, and the embeddings have {rows:,} rows; choose another threads.prompt_format, or"
            " another base model"
        )


@dataclass(frozen=True)
class _Known:
    """A tokenizer's control strings, their tokens, and its beginning of text: see `special_tokens` and `beginning`."""

    control: tuple[str, ...]
    ids: frozenset[int]
    first: int | None


def _known(tokenizer: Any) -> _Known:
    return _known_of(tokenizer, len(tokenizer), tokenizer.bos_token, *tokenizer.all_special_tokens)


@functools.lru_cache(maxsize=8)
def _known_of(tokenizer: Any, *_: Any) -> _Known:
    """The same, found once for a tokenizer as it is: of many thousand added tokens it takes as long as a thread."""
    added = tokenizer.added_tokens_decoder
    control = frozenset(_control({"content": token.content, "special": token.special} for token in added.values()))
    # Unknown words, which are no control, become `unk`.
    ids = {number for number, token in added.items() if token.content in control} - {tokenizer.unk_token_id}
    first = tokenizer("")["input_ids"][:1]
    begins = first and first[0] == tokenizer.bos_token_id
    return _Known(tuple(sorted(control)), frozenset(ids), first[0] if begins else None)


def _check_control(ids: list[int], messages: list[Message], template: Template, tokenizer: Any, prompt: bool) -> None:
    """Raise ControlText where the tokens have other control tokens than those of the same turns with blank texts."""
    # Templates may leave out what is empty.
    turns = tuple((message["role"], "a" if message["content"].strip() else "") for message in messages)
    expect = _remembered_control if len(turns) <= _REMEMBERED else _expected_control
    tokens = tuple(sorted(template.tokens.items()))
    expected = expect(turns, template.source, tokens, tokenizer, _known(tokenizer), prompt)
    _check_same(_control_in(ids, tokenizer), expected, tokenizer)


def _check_same(found: list[int], expected: list[int], tokenizer: Any) -> None:
    """Raise ControlText, naming a control token that only one of them has, where there is one."""
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
    """The control tokens of a blank conversation; `_known` tells the tokenizer as it is from what it was."""
    chat = [{"role": role, "content": content} for role, content in turns]
    [(text, _)] = _texts(chat, Template(source, dict(tokens)), [(len(turns), prompt)])
    return _control_in(tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer)


_remembered_control = functools.lru_cache(maxsize=1024)(_expected_control)


def _render(messages: list[Message], template: Template, control: Iterable[str], prompt: bool) -> Rendered:
    """The rendered text and the spans (in characters) of the assistant's part; none for a prompt.

    Raises InexactTemplate where the spans cannot be told.
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
    """The messages as templates are given them: without control strings, answers without white space around them.

    That would melt into the template's own, and no prompt ends as training had it.
    """
    chat = [{"role": m["role"], "content": neutralise(m["content"], control)} for m in messages]
    return [m | {"content": m["content"].strip()} if m["role"] == "assistant" else m for m in chat]


def _texts(chat: list[Message], template: Template, wanted: list[tuple[int, bool]]) -> list[Rendered]:
    """The texts of the first messages of a conversation: see `rendering`. Raises InexactTemplate where it fails."""
    try:
        return renderer(template.source).render(chat, template.tokens, wanted)
    except CannotRender as error:
        raise UnmaskableTemplate(str(error)) from None


def _marked(text: str, spans: list[Span], end: re.Pattern[str]) -> list[Span]:
    """The marked spans, without white space that follows the end of a turn."""
    stripped = [(start, start + len(text[start:end].rstrip())) for start, end in spans]
    return [
        (start, short if end.search(text, max(start, short - _LONGEST_END), short) else long)
        for (start, long), (_, short) in zip(spans, stripped, strict=True)
    ]


def _found(chat: list[Message], template: Template, ends: re.Pattern[str]) -> Rendered:
    """The text and the spans of a template without marks: from where the prompt for an answer ends to the end of its
    turn.
    """
    answers = [i for i, message in enumerate(chat) if message["role"] == "assistant"]
    if len(answers) > _EACH_ANSWER:
        return _found_in_long(chat, answers, template, ends)
    text, spans = _found_at(chat, answers, template, ends)
    return text, list(spans.values())


def _found_at(
    chat: list[Message], answers: Iterable[int], template: Template, ends: re.Pattern[str]
) -> tuple[str, dict[int, Span]]:
    """The text and the spans of some answers, from two texts for each of them."""
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
    """The same for a conversation of any length, in a time in line with it.

    What the template puts between the texts is told from the same turns with marks for texts. An answer of every shape
    (what stands right before and after it) is found as `_found_at` finds it, so are the last and those whose numbers
    are powers of two; the others begin and end as those of their shape. Raises InexactTemplate where the text is not
    made of those parts, or where the shapes are too many.
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
    """What the template puts before, between and behind the texts of a conversation."""
    marks = [message | {"content": f"\ue000{i}\ue001"} for i, message in enumerate(chat)]
    [(text, _)] = _texts(marks, template, [(len(chat), False)])
    parts = re.split(r"\ue000(\d+)\ue001", text)
    if parts[1::2] != [str(i) for i in range(len(chat))]:
        raise UnmaskableTemplate("changes, leaves out or repeats messages of a long conversation")
    return parts[::2]


def _said(chat: list[Message], text: str, between: list[str]) -> list[Span]:
    """Where each message stands in a text, as it is or without white space around it."""
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
    """Of a tokenizer's added tokens those that text must not become, in order."""
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
    """What matches a control string that a space behind its first character breaks, the longest first."""
    breakable = {token for token in control if len(token) > 1 and token not in f"{token[0]} {token[1:]}"}
    return re.compile("|".join([f"(?i:{_CONTROL})", *([_any_of(breakable)] if breakable else [])]))


def _any_of(tokens: set[str], depth: int = 20) -> str:
    """A regular expression for the longest of some strings, in which those that begin alike share their beginnings.

    Where thousands do, as in Gemma's tokenizer, each place of a text would be compared with all of them. Strings are
    told apart by so many of their characters.
    """
    if len(tokens) == 1 or not depth:
        return "|".join(map(re.escape, sorted(tokens, key=lambda token: (-len(token), token))))
    rests: dict[str, set[str]] = {}
    for token in tokens - {""}:
        rests.setdefault(token[0], set()).add(token[1:])
    alternatives = [f"{re.escape(first)}(?:{_any_of(rest, depth - 1)})" for first, rest in sorted(rests.items())]
    return "|".join([*alternatives, ""] if "" in tokens else alternatives)
