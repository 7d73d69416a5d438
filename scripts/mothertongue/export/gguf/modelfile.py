"""An Ollama Modelfile: GGUF file, chat template in Ollama's language, end-of-turn token, system prompt."""

import re
from collections.abc import Iterable
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.prompts import templates
from mothertongue.prompts.template_parts import Exchange, exchange
from mothertongue.prompts.templates import Template

# A warning for users: Ollama's behaviour without a TEMPLATE is unexpected.
UNTRANSLATED = (
    "the chat template cannot be written in Ollama's language, and Ollama does not run the one in the GGUF file:"
    " without a TEMPLATE line it takes one of its own that looks like it, or no chat format; write that line yourself"
)
# Three quotes at the end of a line end a text.
_ENDS = re.compile(r'"""\s*[\r\n]')


def modelfile(gguf: str, template: str | None, end: str, system_prompt: str) -> str:
    """Return the Modelfile for a GGUF file beside it; `template` is in Ollama's language, `end` the end-of-turn token.

    Raise UserError for a file name, a token or a system prompt that cannot be written in it.
    """
    if gguf != gguf.strip() or not gguf.isprintable():
        raise UserError(f"{gguf!r} is not a file name that a Modelfile can have: rename it")
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
    """Return a text as Ollama reads it in a Modelfile: without invisible characters, joiners included."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\t\r\n")


def _ends(text: str) -> bool:
    """Return whether Ollama would end a text between three quotes too early: the rest would be commands."""
    return bool(_ENDS.search(_read(text)))


def for_ollama(template: Template, tokenizer: Any, system_prompt: str) -> tuple[str | None, str]:
    """Return a chat template in Ollama's language, None where it cannot be written in it, and its system prompt.

    The system prompt is the one given, else the template's own.
    """
    # The runner adds the beginning-of-text token itself, where the tokenizer does.
    begins = templates.beginning(tokenizer) is not None
    found = exchange(template, template.tokens.get("bos_token", "") if begins else "")
    system = system_prompt or (found.own_system if found else "")
    # Ollama renders each exchange alone: text before the first one only is possible only with a system prompt.
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
    """Return whether Ollama would parse a text, with the character that follows it, as a template command."""
    return any("{{" in text or text.endswith("{") for text in texts)
