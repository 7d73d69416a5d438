"""Chat templates for other programs: without the marks of training, or taken apart around the texts of a turn."""

import re
from dataclasses import dataclass

from mothertongue import prompts
from mothertongue.prompts import Template

_FIRST = re.compile(r"<[^<>\s]+>")
_MARK = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
_SYSTEM, _USER, _ANSWER = "(the system prompt)", "(a question)", "(an answer)"


@dataclass(frozen=True)
class Exchange:
    """What a template puts around the texts of an exchange: the system prompt where there is one, question, answer."""

    before_system: str
    after_system: str
    before_question: str
    before_answer: str
    after_answer: str


def without_marks(template: str) -> str:
    """A chat template without the marks of the assistant's words, which only training reads: the text is the same."""
    return _MARK.sub(lambda m: f"{{%{m[1]} {'endif' if m[2] else 'if true'} {m[3]}%}}", template)


def exchange(template: Template, beginning: str = "") -> Exchange | None:
    """A template taken apart; None where it does not render every exchange alike.

    `beginning` is what stands before the first exchange alone, and is no part of it: a beginning-of-text token.
    """
    turns = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}]
    turns.append(turns[0])
    text = prompts.render([{"role": "system", "content": _SYSTEM}, *turns], template, prompt=True)
    plain = prompts.render(turns, template, prompt=True)
    before_system, _, rest = text.removeprefix(beginning).partition(_SYSTEM)
    after_system, _, rest = rest.partition(_USER)
    before_question, _, plain_rest = plain.removeprefix(beginning).partition(_USER)
    before_answer, _, between = rest.partition(_ANSWER)
    between, _, last = between.partition(_USER)
    if rest != plain_rest or not between.endswith(before_question) or before_answer.rstrip(" ") != last.rstrip(" "):
        return None
    return Exchange(before_system, after_system, before_question, last, between.removesuffix(before_question))


def any_exchange(template: Template) -> Exchange | None:
    """The same where the beginning-of-text token is not known: the first token may be one."""
    text = prompts.render([{"role": "user", "content": _USER}], template, prompt=True)
    first = _FIRST.match(text)
    return exchange(template) or (exchange(template, first[0]) if first else None)
