"""The chat templates in Ollama's language: an exchange rendered in it is the text that the template itself renders."""

import re
from pathlib import Path

import pytest
from tiny import FAMILIES, family_tokenizer

from mothertongue import prompts
from mothertongue.modelfile import ollama_template

QUESTION, ANSWER, SYSTEM = "Olá!", "Bom dia.", "Responda em português."


def rendered(template, system, question, answer):
    """What Ollama makes of an exchange: all up to .Response where it is to answer."""
    said = re.sub(
        r"\{\{ if .System \}\}(.*?)\{\{ else \}\}(.*?)\{\{ end \}\}",
        r"\1" if system else r"\2",
        template,
        flags=re.DOTALL,
    )
    said = said.replace("{{ .System }}", system).replace("{{ .Prompt }}", question)
    before, after = said.split("{{ .Response }}")
    return before if answer is None else before + answer + after


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("system", [SYSTEM, ""], ids=["system", "plain"])
def test_it_renders_what_the_template_renders(family, system):
    tokenizer = family_tokenizer(family, "bytes")
    template = prompts.with_tokens_of(prompts.read_template(Path(f"config/templates/{family}.jinja")), tokenizer)
    begins = prompts.beginning(tokenizer) is not None
    translated = ollama_template(template, begins)
    first = rendered(translated, system, QUESTION, ANSWER) + rendered(translated, "", "E agora?", None)
    messages = [*prompts.chat(system, QUESTION), {"role": "assistant", "content": ANSWER}]
    wanted = prompts.render([*messages, *prompts.chat("", "E agora?")], template, prompt=True)
    assert first.replace(" ", "") == wanted.removeprefix(tokenizer.bos_token if begins else "").replace(" ", "")
