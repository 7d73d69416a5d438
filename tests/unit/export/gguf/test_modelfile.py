"""Tests of Modelfiles: chat templates translated for Ollama render the same text, and quoting is correct."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from official_templates import OURS, OWN, SMOLLM2, shipped
from tiny import family_tokenizer

from mothertongue.common.errors import UserError
from mothertongue.export.gguf.modelfile import UNTRANSLATED, _translated, for_ollama, modelfile
from mothertongue.prompts import choose_template, templates
from mothertongue.prompts.template_parts import Exchange

QUESTION, ANSWER, SYSTEM = "Olá!", "Bom dia.", "Responda em português."
TEMPLATES = Path("config/templates")


def template_of(source, tokenizer):
    """Return the template as training uses it: without a system role, the first question contains the system prompt."""
    return choose_template.choose(templates.with_tokens_of(templates.Template(source), tokenizer), TEMPLATES).template


def rendered(template, system, question, answer):
    """Render an exchange as Ollama does; where `answer` is None, only the part before .Response."""
    said = re.sub(
        r"\{\{ if .System \}\}(.*?)\{\{ else \}\}(.*?)\{\{ end \}\}",
        lambda match: match[1] if system else match[2],
        template,
        flags=re.DOTALL,
    )
    said = said.replace("{{ .System }}", system).replace("{{ .Prompt }}", question)
    before, after = said.split("{{ .Response }}")
    return before if answer is None else before + answer + after


def commands(text):
    """Parse the commands of a Modelfile letter by letter, as Ollama does, and return them as pairs (name, value)."""
    found, name, value = [], "", None
    for letter in text + "\n":
        if name.startswith("#"):
            name = "" if letter in "\r\n" else name
        elif value is None:
            if letter in " \t" and name:
                # The name of the parameter follows.
                name, value = ("", None) if name == "PARAMETER" else (name, "")
            elif letter not in " \t\r\n":
                name += letter
        elif letter in " \t" or (letter in "\r\n" and unquoted(value.strip()) is None):
            value += letter
        elif letter in "\r\n":
            found.append((name, unquoted(value.strip())))
            name, value = "", None
        elif letter.isprintable():
            value += letter
    assert not name and value is None and all(name.isalpha() for name, _ in found)
    return found


def unquoted(text):
    """Return a value without its quotes; None where the closing quotes are missing."""
    for quotes in ('"""', '"'):
        if text.startswith(quotes):
            return text[len(quotes) : -len(quotes)] if len(text) >= 2 * len(quotes) and text.endswith(quotes) else None
    return text


def values(text):
    return dict(commands(text))


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("system", [SYSTEM, ""], ids=["system", "plain"])
def test_the_translation_renders_the_same_text_as_the_template(name, system):
    source, family = OWN[name]
    tokenizer = family_tokenizer(family, "bytes")
    template = template_of(source, tokenizer)
    translated, given = for_ollama(template, tokenizer, system)
    if name == "llama3_1" and not system:
        # Without a system prompt its first turn starts with a date; Ollama cannot tell that turn from later ones.
        assert translated is None
        return
    first = rendered(translated, given, QUESTION, ANSWER) + rendered(translated, "", "E agora?", None)
    messages = [*templates.chat(system, QUESTION), {"role": "assistant", "content": ANSWER}]
    wanted = templates.render([*messages, *templates.chat("", "E agora?")], template, prompt=True)
    begins = templates.beginning(tokenizer) is not None
    assert first.replace(" ", "") == wanted.removeprefix(tokenizer.bos_token if begins else "").replace(" ", "")


def test_the_default_system_prompt_is_that_of_the_template():
    tokenizer = family_tokenizer("chatml", "bytes")
    for source, own in ((SMOLLM2, "You are a helpful AI assistant named SmolLM"), (shipped("qwen2_5"), "You are Qwen")):
        template = templates.with_tokens_of(templates.Template(source), tokenizer)
        assert for_ollama(template, tokenizer, "")[1].startswith(own)
        assert for_ollama(template, tokenizer, SYSTEM)[1] == SYSTEM


@pytest.mark.parametrize(
    "source",
    [shipped("qwen3"), shipped("deepseek_r1_distill"), shipped("gemma"), "{{ messages[0].content }}", "{{ nothing.at.all }}",
     OURS["chatml"].replace("message['role'] + '\\n'", "message['role'] + '{{\\n'")],
    ids=["thinks", "thinks, and drops it", "no system role", "one turn", "broken", "Ollama's own signs"],
)  # fmt: skip
def test_an_untranslatable_template_is_stated_in_the_modelfile(source):
    tokenizer = family_tokenizer("chatml", "bytes")
    template = templates.with_tokens_of(templates.Template(source), tokenizer)
    assert for_ollama(template, tokenizer, SYSTEM) == (None, SYSTEM)
    assert modelfile("a.gguf", None, "<|im_end|>", SYSTEM).splitlines()[1] == f"# {UNTRANSLATED}"


@pytest.mark.parametrize("said", ['Diz "olá"', 'Diz """olá""" sempre', '"Olá"', 'Um\n"dois"', '"', "É isso?\n"])
def test_quotes_in_a_system_prompt_are_preserved(said):
    read = values(modelfile("a.gguf", "{{ .Prompt }}\n", "</s>", said))
    assert read["SYSTEM"] == said and read["TEMPLATE"] == "{{ .Prompt }}\n" and read["FROM"] == "./a.gguf"


def test_quotes_that_would_end_the_system_prompt_are_refused():
    assert values(f'SYSTEM """{SYSTEM}"""\nADAPTER mais"""')["SYSTEM"] == SYSTEM
    with pytest.raises(UserError, match=r"threads\.system_prompt has a line that ends in"):
        modelfile("a.gguf", "{{ .Prompt }}", "</s>", f'{SYSTEM}""" \nmais')


QUOTES = st.text(st.one_of(st.sampled_from('"\n\r \t\u200d#a'), st.characters(exclude_categories=["Cs"])))


@given(gguf=QUOTES, template=st.one_of(st.none(), QUOTES), end=QUOTES, said=QUOTES)
def test_every_value_in_a_modelfile_is_read_back_unchanged_or_refused(gguf, template, end, said):
    """No text adds a command. The system prompt loses only the characters that Ollama drops, such as joiners."""
    parts = Exchange(template or "", "", "", "", "", "")
    translated = None if template is None else _translated(parts)
    try:
        text = modelfile(gguf, translated, end, said)
    except UserError as error:
        assert "\n" not in str(error)
        return
    name, value, *rest = commands(text)[0][1], *commands(text)[1:]
    assert name == f"./{gguf}"
    wanted = [("TEMPLATE", translated)] if translated is not None else []
    wanted += [("stop", end)]
    read = "".join(letter for letter in said if letter.isprintable() or letter in "\t\r\n")
    assert [value, *rest] == wanted + ([("SYSTEM", read)] if said else [])
