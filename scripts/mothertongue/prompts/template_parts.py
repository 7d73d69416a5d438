"""Chat templates for other programs: without the marks of training, or taken apart around the texts of a turn."""

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
    """What a template puts around the texts of an exchange: the system prompt where there is one, question, answer.

    `opening` stands before the first question where there is no system prompt, `before_question` before the others.
    """

    before_system: str
    after_system: str
    opening: str
    before_question: str
    before_answer: str
    after_answer: str

    @property
    def own_system(self) -> str:
        """The system prompt that the template gives a conversation without one; empty for none."""
        own = self.opening.removeprefix(self.before_system).removesuffix(self.after_system)
        said = self.before_system + own + self.after_system
        return own if said == self.opening != self.before_question else ""


def without_marks(template: str) -> str:
    """A chat template without the marks of the assistant's words, which only training reads: the text is the same."""
    return _MARK.sub(lambda m: f"{{%{m[1]} {'endif' if m[2] else 'if true'} {m[3]}%}}", template)


def exchange(template: Template, beginning: str = "") -> Exchange | None:
    """A template taken apart; None where it does not render every exchange alike, or has no system prompt.

    `beginning` is what stands before the first exchange alone, and is no part of it: a beginning-of-text token.
    """
    system, question, answer = (
        {"role": role, "content": text} for role, text in (("system", _SYSTEM), ("user", _USER), ("assistant", _ANSWER))
    )

    def parts(messages: list[Message], texts: list[str], prompt: bool = True) -> list[str] | None:
        return _around(templates.render(messages, template, prompt=prompt).removeprefix(beginning), texts)

    try:
        whole = parts([system, question, answer, question], [_SYSTEM, _USER, _ANSWER, _USER])
        plain = parts([question, answer, question], [_USER, _ANSWER, _USER])
        # Some templates put thoughts before an answer that no question follows.
        ended = parts([system, question, answer], [_SYSTEM, _USER, _ANSWER])
        if not whole or not plain or not ended or whole[2:] != plain[1:] or whole[:3] != ended[:3]:
            return None
        before_system, after_system, before_answer, between, last = whole
        opening = before_question = plain[0]
        if not between.endswith(opening):
            # The first exchange alone begins otherwise: with the template's own system prompt.
            done = parts([question, answer], [_USER, _ANSWER], prompt=False) or [between]
            before_question = between.removeprefix(done[-1])
    except UnmaskableTemplate:
        return None
    if not between.endswith(before_question) or before_answer.rstrip(" ") != last.rstrip(" "):
        return None
    after_answer = between.removesuffix(before_question)
    return Exchange(before_system, after_system, opening, before_question, last, after_answer)


def any_exchange(template: Template) -> Exchange | None:
    """The same where the beginning-of-text token is not known: the first token may be one."""
    found = exchange(template)
    if found:
        return found
    try:
        first = _TOKEN.match(templates.render([{"role": "user", "content": _USER}], template, prompt=True))
    except UnmaskableTemplate:
        return None
    return exchange(template, first[0]) if first else None


def literal_end(template: Template) -> str | None:
    """The control token that the template itself writes where the assistant's turn ends.

    None where that is whatever token the tokenizer ends a text with, or where it cannot be told.
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
    """What stands before, between and behind texts in a text; None where one is missing."""
    parts = []
    for each in texts:
        before, found, text = text.partition(each)
        if not found:
            return None
        parts.append(before)
    return [*parts, text]
