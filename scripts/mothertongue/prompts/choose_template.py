"""Which chat template a base model is tuned with: its own where that tells the assistant's words exactly, else ours."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.model_folders.gguf_header import check_gguf
from mothertongue.model_folders.reading import CONFIG, check_fast, check_tokenizer, loading, read_config
from mothertongue.prompts.templates import FORMATS, Template, read_template, with_tokens_of

# The template of ours for models whose own template, or tokenizer, has all of these strings; the first that fits.
_FAMILIES = (
    ("llama3", ("<|start_header_id|>",)),
    ("gemma", ("<start_of_turn>",)),
    ("chatml", ("<|im_start|>",)),
    ("llama2", ("<<SYS>>",)),
    ("mistral", ("[INST]",)),
    ("phi3", ("<|user|>", "<|end|>")),
    ("zephyr", ("<|user|>", "</s>")),
)
# Before a template that knows no system role, or puts it into another turn than the first.
_SYSTEM_FIRST = """\
{%- if messages and messages[0]['role'] == 'system' -%}
    {%- set first = messages[0]['content'] + '\\n\\n' + (messages[1]['content'] if messages[1:] else '') -%}
    {%- set messages = [{'role': 'user', 'content': first}] + messages[2:] -%}
{%- endif -%}
"""


@dataclass(frozen=True)
class Choice:
    """A template, what to call it, and why it was taken (empty where it is the base model's own as it is)."""

    template: Template
    name: str
    reason: str


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder, or of the GGUF file in it. Raises UserError where it cannot be loaded."""
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
    """How many tokens a model knows, by its config.json; None where it has none, or one that does not say."""
    if not (folder / CONFIG).is_file():
        return None
    config = read_config(folder)
    return config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")


def own_template(tokenizer: Any) -> Template:
    """The template that a tokenizer brings, its `default` one where it has several; the source is empty for none."""
    source = tokenizer.chat_template or ""
    return with_tokens_of(Template(source.get("default", "") if isinstance(source, dict) else source), tokenizer)


def choose(own: Template, folder: Path, own_only: bool = False) -> Choice:
    """The template to tune with: the model's own, itself or with the system prompt in the first user turn, else that
    of its family in `folder`, which `own_only` excludes.

    Raises UserError where none will do.
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
    if not own_only and (name := family(own)):
        ours = read_template(folder / f"{name}.jinja")
        return Choice(replace(own, source=ours.source), name, missing)
    known, formats = ("", f"auto, {FORMATS}") if own_only else (", and it is of no family that we know", FORMATS)
    raise UserError(f"no chat template: {missing}{known}; set threads.prompt_format to one of {formats}")


def family(own: Template) -> str | None:
    """The template of ours that a model was made for, by its own template or else by its tokenizer's control tokens."""
    text = own.source + own.tokens.get("eos_token", "")
    return _by_signs(text) or _by_signs(text + " ".join(own.control))


def _by_signs(text: str) -> str | None:
    found: Iterable[str] = (name for name, signs in _FAMILIES if all(sign in text for sign in signs))
    return next(iter(found), None)
