"""An Ollama Modelfile: the GGUF file, the chat template in Ollama's language, where a turn ends, the system prompt."""

from typing import Any

from mothertongue import prompts
from mothertongue.prompts import Template

_SYSTEM, _USER, _ANSWER = "(the system prompt)", "(a question)", "(an answer)"


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
    exchange = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}]
    turns = [*exchange, exchange[0]]
    beginning = template.tokens.get("bos_token", "") if begins else ""
    text = prompts.render([{"role": "system", "content": _SYSTEM}, *turns], template, prompt=True)
    plain = prompts.render(turns, template, prompt=True)
    before_system, _, rest = text.removeprefix(beginning).partition(_SYSTEM)
    after_system, _, rest = rest.partition(_USER)
    before_user, _, plain_rest = plain.removeprefix(beginning).partition(_USER)
    after_user, _, between = rest.partition(_ANSWER)
    between, _, last = between.partition(_USER)
    if rest != plain_rest or not between.endswith(before_user) or after_user.rstrip(" ") != last.rstrip(" "):
        return None
    after_answer = between.removesuffix(before_user)
    return (
        f"{{{{ if .System }}}}{before_system}{{{{ .System }}}}{after_system}{{{{ else }}}}{before_user}{{{{ end }}}}"
        f"{{{{ .Prompt }}}}{last}{{{{ .Response }}}}{after_answer}"
    )
