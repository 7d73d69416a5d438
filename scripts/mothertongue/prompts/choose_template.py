"""Choosing a base model's chat template: its own where it delimits the assistant's text exactly, else one of ours."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.model_folders.gguf_header import check_gguf
from mothertongue.model_folders.reading import CONFIG, check_fast, check_tokenizer, loading, read_config
from mothertongue.prompts.templates import FORMATS, Template, read_template, with_tokens_of

# Our template by model family, with the strings that identify the family in a model's own template or tokenizer: all
# of them have to occur, and the first family that matches is used.
_FAMILIES = (
    ("llama3", ("<|start_header_id|>",)),
    ("gemma", ("<start_of_turn>",)),
    ("chatml", ("<|im_start|>",)),
    ("llama2", ("<<SYS>>",)),
    ("mistral", ("[INST]",)),
    ("phi3", ("<|user|>", "<|end|>")),
    ("zephyr", ("<|user|>", "</s>")),
)
# Prefix for templates without a system role, or that put the system prompt into another turn than the first.
_SYSTEM_FIRST = """\
{%- if messages and messages[0]['role'] == 'system' -%}
    {%- set first = messages[0]['content'] + '\\n\\n' + (messages[1]['content'] if messages[1:] else '') -%}
    {%- set messages = [{'role': 'user', 'content': first}] + messages[2:] -%}
{%- endif -%}
"""


@dataclass(frozen=True)
class Choice:
    """A template, its name for messages, and the reason for it (empty for the base model's own, unchanged)."""

    template: Template
    name: str
    reason: str


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model folder or of the GGUF file in it. Raise UserError where it cannot be loaded."""
    from transformers import AutoTokenizer

    check_tokenizer(folder)
    if gguf := next(folder.glob("*.gguf"), None):
        check_gguf(gguf)
    with loading(folder, "its tokenizer cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, **({"gguf_file": gguf.name} if gguf else {})
        )
    check_fast(tokenizer, folder)
    return tokenizer


def known_tokens(folder: Path) -> int | None:
    """Return the vocabulary size from a model's config.json; None where the file or the value is missing."""
    if not (folder / CONFIG).is_file():
        return None
    config = read_config(folder)
    return config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")


def own_template(tokenizer: Any) -> Template:
    """Return a tokenizer's own template, `default` where it has several; its source is empty where it has none."""
    source = tokenizer.chat_template or ""
    return with_tokens_of(Template(source.get("default", "") if isinstance(source, dict) else source), tokenizer)


def choose(own: Template, ours: Mapping[str, Path], own_only: bool = False) -> Choice:
    """Return the template to tune with.

    Candidates, in order: the model's own; the model's own with the system prompt in the first user turn; unless
    `own_only`, the template of its family in `ours`, by name. Raise UserError where none is suitable.
    """
    why = own.objection() if own.source else None
    if own.source and why is None:
        return Choice(own, "the base model's own", "")
    if own.source:
        first = replace(own, source=_SYSTEM_FIRST + own.source)
        if first.objection() is None:
            return Choice(
                first, "the base model's own, the system prompt in the first user turn", f"as it is, it {why}"
            )
    missing = f"the base model's own {why}" if own.source else "the base model has none of its own"
    name = family(own)
    if not own_only and name and name in ours:
        return Choice(replace(own, source=read_template(ours[name]).source), name, missing)
    known, formats = ("", f"auto, {FORMATS}") if own_only else (", and it is of no family that we know", FORMATS)
    raise UserError(f"no chat template: {missing}{known}; set threads.prompt_format to one of {formats}")


def family(own: Template) -> str | None:
    """Return the name of our template for a model's family; None where the family is unknown.

    The model's own template identifies the family, else its tokenizer's control tokens.
    """
    text = own.source + own.tokens.get("eos_token", "")
    return _by_signs(text) or _by_signs(text + " ".join(own.control))


def _by_signs(text: str) -> str | None:
    found: Iterable[str] = (name for name, signs in _FAMILIES if all(sign in text for sign in signs))
    return next(iter(found), None)
