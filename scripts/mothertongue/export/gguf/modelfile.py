"""An Ollama Modelfile: the GGUF file, the chat template in Ollama's language, where a turn ends, the system prompt."""

import re
from collections.abc import Iterable
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.prompts import templates
from mothertongue.prompts.template_parts import Exchange, exchange
from mothertongue.prompts.templates import Template

# What Ollama does without a TEMPLATE, which no user would expect.
UNTRANSLATED = (
    "the chat template cannot be written in Ollama's language, and Ollama does not run the one in the GGUF file:"
    " without a TEMPLATE line it takes one of its own that looks like it, or no chat format; write that line yourself"
)
# Three quotes end a text where a line does.
_ENDS = re.compile(r'"""\s*[\r\n]')


def modelfile(gguf: str, template: str | None, end: str, system_prompt: str) -> str:
    """The Modelfile of a GGUF file beside it; `template` is in Ollama's language, `end` the token that ends a turn.

    Raises UserError for a file's name, a token and a system prompt that cannot stand in it.
    """
    if gguf != gguf.strip() or not gguf.isprintable():
        raise UserError(f"{gguf!r} is no file's name that a Modelfile can have: rename it")
    if _ends(end) or _read(end) != end:
        raise UserError(f"the token that ends a turn, {end!r}, cannot stand in Ollama's Modelfile: use gptq or awq")
    if _ends(system_prompt):
        raise UserError(
            'threads.system_prompt has a line that ends in """, where Ollama takes the prompt to end; write the quotes'
            " otherwise"
        )
    return "\n".join(
        [
            f"FROM ./{gguf}",
            f"# {UNTRANSLATED}" if template is None else f'TEMPLATE """{template}"""',
            f'PARAMETER stop """{end}"""' if re.search(r'["\r\n]', end) else f'PARAMETER stop "{end}"',
            *([f'SYSTEM """{system_prompt}"""'] if system_prompt else []),
            "",
        ]
    )


def _read(text: str) -> str:
    """A text as Ollama reads it in a Modelfile: what is not seen, joiners too, is left out."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\t\r\n")


def _ends(text: str) -> bool:
    """Whether Ollama takes a text between three quotes to end before it does: what follows would be commands."""
    return bool(_ENDS.search(_read(text)))


def for_ollama(template: Template, tokenizer: Any, system_prompt: str) -> tuple[str | None, str]:
    """A chat template in Ollama's language, None where it cannot be written in it, and the system prompt for it.

    That is the one given, else the one that the template gives by itself.
    """
    # The runner itself puts the beginning-of-text token first, where the tokenizer does.
    begins = templates.beginning(tokenizer) is not None
    found = exchange(template, template.tokens.get("bos_token", "") if begins else "")
    system = system_prompt or (found.own_system if found else "")
    # Ollama renders each exchange alone: what is to stand before the first only must come with the system prompt.
    suits = found and (system or found.opening == found.before_question)
    return _translated(found) if found and suits else None, system


def _translated(parts: Exchange) -> str | None:
    text = (
        f"{{{{ if .System }}}}{parts.before_system}{{{{ .System }}}}{parts.after_system}"
        f"{{{{ else }}}}{parts.before_question}{{{{ end }}}}"
        f"{{{{ .Prompt }}}}{parts.before_answer}{{{{ .Response }}}}{parts.after_answer}"
    )
    return None if _ends(text) or _read(text) != text or _actions(vars(parts).values()) else text


def _actions(texts: Iterable[str]) -> bool:
    """Whether Ollama would take a text, with the sign that follows it, for a command of its language."""
    return any("{{" in text or text.endswith("{") for text in texts)
