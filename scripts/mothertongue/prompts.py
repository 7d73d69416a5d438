"""Prompts: a thread rendered in a chat template, as text and as tokens with a loss mask.

Templates are Jinja files that mark the assistant's part with `{% generation %}`, rendered by transformers itself, so
that training, evaluation and chat see exactly what every other user of the template sees.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from mothertongue.errors import UserError

Message = dict[str, str]  # role: system, user or assistant; content

# What chat formats and tokenizers read as structure, of all families: `<|im_start|>`, `[INST]`, `</s>`, `<bos>`, …
_CONTROL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\]|<</?SYS>>"
    r"|</?s>|<(?:unk|pad|bos|eos|mask|cls|sep)>|<(?:start|end)_of_turn>",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Template:
    """A chat template and the special tokens (bos_token, eos_token, …) that it is rendered with."""

    source: str
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def marks_assistant(self) -> bool:
        """Whether the template says which text is the assistant's."""
        return re.search(r"\{%-?\s*generation\s*-?%\}", self.source) is not None


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
        return Template(path.read_text(encoding="utf-8"))
    if not path.is_dir():
        raise UserError(f"{path}: no such template")
    settings = {}
    if (path / "tokenizer_config.json").is_file():
        settings = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    own = path / "chat_template.jinja"
    source = own.read_text(encoding="utf-8") if own.is_file() else settings.get("chat_template")
    if not isinstance(source, str):
        raise UserError(f"{path}: this model has no chat template; set threads.prompt_format to llama2 or chatml")
    tokens = {name: _content(settings[name]) for name in ("bos_token", "eos_token", "unk_token") if settings.get(name)}
    return Template(source, tokens)


def with_tokens_of(template: Template, tokenizer: Any) -> Template:
    """The template with the special tokens of a tokenizer: what training, evaluation and chat all render."""
    names = ("bos_token", "eos_token", "unk_token")
    return Template(template.source, {name: token for name in names if (token := getattr(tokenizer, name))})


def render(messages: list[Message], template: Template, control: Iterable[str] = (), prompt: bool = False) -> str:
    """A thread as text; `prompt` ends it where the assistant is to answer. See `neutralise` for `control`."""
    return _render(messages, template, control, prompt)[0]


def neutralise(text: str, control: Iterable[str] = ()) -> str:
    """The text with a space put into every control string, so that it can never become a control token.

    `control` adds a tokenizer's own special tokens to those known of all families. A space and no invisible
    character, since some tokenizers drop invisible ones.
    """
    patterns = sorted((re.escape(token) for token in control if len(token) > 1), key=len, reverse=True)
    for pattern in (_CONTROL, *(re.compile(pattern) for pattern in patterns)):
        while pattern.search(text):
            broken = pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
            if broken == text:
                break
            text = broken
    return text


def system_prompt(messages: list[Message]) -> str:
    """The system prompt of a thread; empty where it has none."""
    return messages[0]["content"] if messages and messages[0]["role"] == "system" else ""


def chat(system: str, question: str) -> list[Message]:
    """A conversation that begins with a question; `system` empty for no system prompt."""
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": question}]


def special_tokens(tokenizer: Any) -> list[str]:
    """The strings that a tokenizer reads as one token whatever surrounds them; runs of white space do no harm."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values())
    return sorted(token for token in added if len(token) > 1 and not token[0].isspace())


def encode(messages: list[Message], template: Template, tokenizer: Any) -> Encoded:
    """A thread as tokens; the loss falls on the assistant's text and its end of turn, nothing else.

    There is one beginning-of-text token where the tokenizer wants one.
    """
    text, spans = _render(messages, template, special_tokens(tokenizer), False)
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = tokens["input_ids"], tokens["offset_mapping"]
    labels = [-100] * len(ids)
    span = 0
    for i, (start, end) in enumerate(offsets):
        while span < len(spans) and start >= spans[span][1]:
            span += 1
        if span < len(spans) and start >= spans[span][0] and end <= spans[span][1]:
            labels[i] = ids[i]
    first = beginning(tokenizer)
    if first is not None and ids[:1] != [first]:
        ids, labels = [first, *ids], [-100, *labels]
    return Encoded(ids, labels)


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


def _render(
    messages: list[Message], template: Template, control: Iterable[str], prompt: bool
) -> tuple[str, list[tuple[int, int]]]:
    """The rendered text and the spans (in characters) of the assistant's part."""
    control = list(control)
    chat = [{"role": m["role"], "content": neutralise(m["content"], control)} for m in messages]
    try:
        texts, spans = render_jinja_template(
            [chat],
            chat_template=template.source,
            return_assistant_tokens_mask=template.marks_assistant,
            add_generation_prompt=prompt,
            **template.tokens,
        )
    except TemplateError as error:
        raise UserError(f"the chat template cannot render a thread: {error}") from None
    return texts[0], [tuple(span) for span in spans[0]] if template.marks_assistant else []


def _content(token: str | dict[str, Any]) -> str:
    return token["content"] if isinstance(token, dict) else token
