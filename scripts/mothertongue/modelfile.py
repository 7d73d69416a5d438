"""An Ollama Modelfile: the GGUF file, the chat template in Ollama's language, where a turn ends, the system prompt."""

from typing import Any

from mothertongue import prompts
from mothertongue.plain_templates import exchange
from mothertongue.prompts import Template


def modelfile(gguf: str, template: Template, tokenizer: Any, system_prompt: str) -> str:
    """The Modelfile of a GGUF file beside it."""
    end = tokenizer.convert_ids_to_tokens(prompts.end_of_turn(template, tokenizer))
    translated = ollama_template(template, prompts.beginning(tokenizer) is not None)
    return "\n".join(
        [
            f"FROM ./{gguf}",
            f'TEMPLATE """{translated}"""' if translated else "# Ollama takes the chat template that is in the file.",
            f'PARAMETER stop "{end}"',
            *([f'SYSTEM """{system_prompt}"""'] if system_prompt else []),
            "",
        ]
    )


def ollama_template(template: Template, begins: bool) -> str | None:
    """A chat template in Ollama's language: one exchange, with the system prompt where there is one.

    `begins`: whether the runner itself puts the beginning-of-text token first. None where the template does not render
    every exchange alike.
    """
    found = exchange(template, template.tokens.get("bos_token", "") if begins else "")
    return found and (
        f"{{{{ if .System }}}}{found.before_system}{{{{ .System }}}}{found.after_system}"
        f"{{{{ else }}}}{found.before_question}{{{{ end }}}}"
        f"{{{{ .Prompt }}}}{found.before_answer}{{{{ .Response }}}}{found.after_answer}"
    )
