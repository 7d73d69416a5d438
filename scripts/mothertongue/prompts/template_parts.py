"""Chat templates for other programs: without `{% generation %}` marks, or as the strings around each turn's text."""

import re
from dataclasses import dataclass, replace

from mothertongue.prompts import templates
from mothertongue.prompts.templates import Message, Template, UnmaskableTemplate

_TOKEN = re.compile(r"<[^<>\s]+>")
_MARK = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
_SYSTEM, _USER, _ANSWER = "(the system prompt)", "(a question)", "(an answer)"
_ANY_END = "<|eos_of_any_tokenizer|>"


@dataclass(frozen=True)
class Exchange:
    """The strings that a template puts around the texts of an exchange: optional system prompt, question, answer.

    `opening` precedes the first question of a conversation without a system prompt, `before_question` all others.
    """

    before_system: str
    after_system: str
    opening: str
    before_question: str
    before_answer: str
    after_answer: str

    @property
    def own_system(self) -> str:
        """The template's default system prompt, for conversations without one; empty where it has none."""
        own = self.opening.removeprefix(self.before_system).removesuffix(self.after_system)
        said = self.before_system + own + self.after_system
        return own if said == self.opening != self.before_question else ""


def without_marks(template: str) -> str:
    """Return a chat template without `{% generation %}` marks, which only training reads; it renders the same text."""
    return _MARK.sub(lambda m: f"{{%{m[1]} {'endif' if m[2] else 'if true'} {m[3]}%}}", template)


def exchange(template: Template, beginning: str = "") -> Exchange | None:
    """Return the strings of a template; None where it renders exchanges differently or without the system prompt.

    `beginning` is the beginning-of-text token that precedes the first exchange only; it is left out.
    """
    system, question, answer = (
        {"role": role, "content": text} for role, text in (("system", _SYSTEM), ("user", _USER), ("assistant", _ANSWER))
    )

    def parts(messages: list[Message], texts: list[str], prompt: bool = True) -> list[str] | None:
        return _around(templates.render(messages, template, prompt=prompt).removeprefix(beginning), texts)

    try:
        whole = parts([system, question, answer, question], [_SYSTEM, _USER, _ANSWER, _USER])
        plain = parts([question, answer, question], [_USER, _ANSWER, _USER])
        # Some templates put a reasoning block before the final answer only.
        ended = parts([system, question, answer], [_SYSTEM, _USER, _ANSWER])
        if not whole or not plain or not ended or whole[2:] != plain[1:] or whole[:3] != ended[:3]:
            return None
        before_system, after_system, before_answer, between, last = whole
        opening = before_question = plain[0]
        if not between.endswith(opening):
            # Only the first exchange begins differently: with the template's default system prompt.
            done = parts([question, answer], [_USER, _ANSWER], prompt=False) or [between]
            before_question = between.removeprefix(done[-1])
    except UnmaskableTemplate:
        return None
    if not between.endswith(before_question) or before_answer.rstrip(" ") != last.rstrip(" "):
        return None
    after_answer = between.removesuffix(before_question)
    return Exchange(before_system, after_system, opening, before_question, last, after_answer)


def any_exchange(template: Template) -> Exchange | None:
    """Return `exchange` where the beginning-of-text token is unknown: the first token may be one."""
    found = exchange(template)
    if found:
        return found
    try:
        first = _TOKEN.match(templates.render([{"role": "user", "content": _USER}], template, prompt=True))
    except UnmaskableTemplate:
        return None
    return exchange(template, first[0]) if first else None


def literal_end(template: Template) -> str | None:
    """Return the control token that a template's source writes at the end of the assistant's turn.

    None where the template uses the tokenizer's `eos_token` there, or where no such token is found.
    """
    messages = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}]
    try:
        text = templates.render(messages, replace(template, tokens=template.tokens | {"eos_token": _ANY_END}))
    except UnmaskableTemplate:
        return None
    behind = _TOKEN.findall(text.partition(_ANSWER)[2])
    end = next((token for token in behind if templates.neutralise(token, template.control) != token), None)
    return end if end and end in template.source else None


def _around(text: str, texts: list[str]) -> list[str] | None:
    """Return the parts of a text before, between and after `texts`; None where one of these is missing."""
    parts = []
    for each in texts:
        before, found, text = text.partition(each)
        if not found:
            return None
        parts.append(before)
    return [*parts, text]
