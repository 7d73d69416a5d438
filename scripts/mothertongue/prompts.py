"""Prompts: a thread rendered in a chat template, as text and as tokens with a loss mask.

Templates are Jinja files, rendered by transformers itself, so that training, evaluation and chat see exactly what every
other user of the template sees. Ours mark the assistant's part with `{% generation %}`; where a template does not, the
part is found by rendering the conversation up to each answer, and what cannot be found exactly is refused.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from mothertongue.errors import UserError
from mothertongue.files import read_object
from mothertongue.model_folder import check_tokenizer

Message = dict[str, str]  # role: system, user or assistant; content

# What chat formats and tokenizers read as structure, of all families: `<|im_start|>`, `[INST]`, `</s>`, `<bos>`, …
_CONTROL = (
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\]|<</?SYS>>"
    r"|</?s>|<(?:unk|pad|bos|eos|mask|cls|sep)>|<(?:start|end)_of_turn>"
)
# Markup that some tokenizers (Gemma's) read as one token each: words of a text as any other.
_MARKUP = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|sub|sup|code|pre|p|br)>"
)
_TOKENS = ("bos_token", "eos_token", "unk_token")
_SAMPLE = [
    {"role": "system", "content": "Responda em português."},
    {"role": "user", "content": "Olá! Quanto é 2 + 2?"},
    {"role": "assistant", "content": "São 4.\n\n- quatro"},
    {"role": "user", "content": "E 3 + 3?\nE 4 + 4?"},
    {"role": "assistant", "content": "São 6 e 8."},
    {"role": "user", "content": "Obrigada."},
    {"role": "assistant", "content": "De nada."},
]
CHOICE = "choice.json"  # in a folder that scripts/fetch_chat_template.py wrote: which template was taken, and why
FORMATS = "llama2, llama3, mistral, chatml, gemma, phi3, zephyr, or a .jinja file of yours"


class InexactTemplate(UserError):
    """A chat template in which the assistant's part of a thread cannot be told exactly; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the chat template {reason}; choose another threads.prompt_format: {FORMATS}")
        self.reason = reason


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
        for sample in (_SAMPLE, _SAMPLE[1:], _SAMPLE[:3]):
            try:
                text, spans = _render(sample, self, (), False)
            except InexactTemplate as error:
                return error.reason
            for message in sample:
                if message["content"] not in text:
                    return f"changes or leaves out the text of the role '{message['role']}'"
            answers = [m["content"] for m in sample if m["role"] == "assistant"]
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
    character, since some tokenizers drop invisible ones.
    """
    pattern = _pattern(tuple(control))
    while pattern.search(text):
        broken = pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
        if broken == text:
            break
        text = broken
    return text


def system_prompt(messages: list[Message]) -> str:
    """The system prompt of a thread; empty where it has none."""
    return messages[0]["content"] if messages and messages[0]["role"] == "system" else ""


def chat(system: str, question: str, examples: Iterable[Message] = ()) -> list[Message]:
    """A conversation that asks a question, after earlier turns for examples; `system` empty for no system prompt."""
    before = [{"role": "system", "content": system}] if system else []
    return [*before, *examples, {"role": "user", "content": question}]


def special_tokens(tokenizer: Any) -> list[str]:
    """The strings that a tokenizer reads as one token whatever surrounds them; white space and markup do no harm."""
    added = tokenizer.added_tokens_decoder.values()
    return list(_control({"content": token.content, "special": token.special} for token in added))


def encode(messages: list[Message], template: Template, tokenizer: Any) -> Encoded:
    """A thread as tokens; the loss falls on the assistant's text and its end of turn, nothing else.

    There is one beginning-of-text token where the tokenizer wants one.
    """
    text, spans = _render(messages, template, special_tokens(tokenizer), False)
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = tokens["input_ids"], tokens["offset_mapping"]
    labels = [-100] * len(ids)
    span = 0
    # A token may end after its span: some end-of-turn tokens swallow the white space behind them.
    for i, (start, _) in enumerate(offsets):
        while span < len(spans) and start >= spans[span][1]:
            span += 1
        if span < len(spans) and start >= spans[span][0]:
            labels[i] = ids[i]
    first = beginning(tokenizer)
    if first is not None and ids[:1] != [first]:
        ids, labels = [first, *ids], [-100, *labels]
    return Encoded(ids, labels)


def encoded_text(messages: list[Message], template: Template, tokenizer: Any) -> str:
    """The text that `encode` makes tokens of, with the beginning-of-text token where the tokenizer wants one."""
    text = render(messages, template, special_tokens(tokenizer))
    wanted = beginning(tokenizer) is not None and not text.startswith(tokenizer.bos_token)
    return tokenizer.bos_token + text if wanted else text


def encode_prompt(messages: list[Message], template: Template, tokenizer: Any) -> list[int]:
    """The tokens after which the assistant answers."""
    text = render(messages, template, special_tokens(tokenizer), prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    first = beginning(tokenizer)
    return ids if first is None or ids[:1] == [first] else [first, *ids]


def beginning(tokenizer: Any) -> int | None:
    """The beginning-of-text token that the tokenizer itself puts before a text; None where it puts none."""
    ids = tokenizer("")["input_ids"]
    return ids[0] if ids and ids[0] == tokenizer.bos_token_id else None


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


def _render(
    messages: list[Message], template: Template, control: Iterable[str], prompt: bool
) -> tuple[str, list[tuple[int, int]]]:
    """The rendered text and the spans (in characters) of the assistant's part; none for a prompt.

    Raises InexactTemplate where the spans cannot be told.
    """
    control = (*template.control, *control)
    chat = [{"role": m["role"], "content": neutralise(m["content"], control)} for m in messages]
    for message in chat:
        if message["role"] == "assistant":
            # White space around an answer would melt into the template's own, and no prompt ends as training had it.
            message["content"] = message["content"].strip()
    text, spans = _jinja(chat, template, prompt)
    if prompt:
        return text, []
    ends = re.compile(rf"\s*(?:{_pattern((*control, *template.tokens.values())).pattern})")
    return text, _marked(text, spans, ends) if template.marks_assistant else _found(chat, template, text, ends)


def _jinja(chat: list[Message], template: Template, prompt: bool) -> tuple[str, list[tuple[int, int]]]:
    """The text that transformers renders and the spans that the template marks. Its errors raise InexactTemplate."""
    try:
        texts, spans = render_jinja_template(
            [chat],
            chat_template=template.source,
            return_assistant_tokens_mask=template.marks_assistant,
            add_generation_prompt=prompt,
            **template.tokens,
        )
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise InexactTemplate(f"cannot render a thread ({error})") from None
    return texts[0], [tuple(span) for span in spans[0]] if template.marks_assistant else []


def _marked(text: str, spans: list[tuple[int, int]], ends: re.Pattern[str]) -> list[tuple[int, int]]:
    """The marked spans, without white space that follows the end of a turn."""
    stripped = [(start, start + len(text[start:end].rstrip())) for start, end in spans]
    return [
        (start, short if any(match.end() == short for match in ends.finditer(text, start, short)) else end)
        for (start, end), (_, short) in zip(spans, stripped, strict=True)
    ]


def _found(chat: list[Message], template: Template, text: str, ends: re.Pattern[str]) -> list[tuple[int, int]]:
    """The spans of a template without marks: from where the prompt for an answer ends to the end of its turn."""
    spans = []
    for i, message in enumerate(chat):
        if message["role"] != "assistant":
            continue
        before, _ = _jinja(chat[:i], template, True)
        upto, _ = _jinja(chat[: i + 1], template, False)
        start = len(before)
        said = start + len(upto[start:]) - len(upto[start:].lstrip())
        end = ends.match(upto, said + len(message["content"]))
        if not upto.startswith(before):
            raise InexactTemplate("renders what stands before an answer otherwise than in its prompt for that answer")
        if not upto.startswith(message["content"], said):
            raise InexactTemplate("puts text of its own before the assistant's text")
        if not end:
            raise InexactTemplate("has no control token right after the assistant's text")
        if text[: end.end()] != upto[: end.end()]:
            raise InexactTemplate("renders a turn otherwise when others follow it")
        spans.append((start, end.end()))
    return spans


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start:,})") from None


def _content(token: str | dict[str, Any]) -> str:
    return token["content"] if isinstance(token, dict) else token


def _control(added: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Of a tokenizer's added tokens those that text must not become, in order."""
    return tuple(
        sorted(
            token["content"]
            for token in added
            if len(token["content"]) > 1
            and not token["content"][0].isspace()
            and (token.get("special", True) or not _MARKUP.fullmatch(token["content"]))
        )
    )


@functools.lru_cache(maxsize=16)
def _pattern(control: tuple[str, ...]) -> re.Pattern[str]:
    """What matches a control string, the longest first."""
    literal = sorted({re.escape(token) for token in control if len(token) > 1}, key=lambda token: (-len(token), token))
    return re.compile("|".join([f"(?i:{_CONTROL})", *literal]))
