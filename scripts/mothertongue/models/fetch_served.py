"""Fetch models that jobs serve: as they are, in safetensors for vLLM or one GGUF model for llama.cpp."""

import re
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.common.progress import first
from mothertongue.model_folders import contents
from mothertongue.model_folders.gguf_header import check_gguf
from mothertongue.models import fetching
from mothertongue.models.references import Reference

_GGUF = "*.gguf"
# The end of the names of a model's parts.
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def fetch(reference: Reference, folder: Path, serve: str, pattern: str | None, kept: Path | None = None) -> None:
    """Fetch a model into `folder` for `serve`, vllm or llama_cpp; `pattern` chooses among GGUF files.

    `kept` as for fetching.download. Raise UserError where it has no such weights, several of them, or needs code.
    """
    if serve == "llama_cpp":
        fetching.fetch(reference, folder, kept, weights=(pattern or _GGUF,))
        with fetching.naming(reference, folder):
            check_one_gguf(folder, pattern)
    elif reference.text.endswith(_GGUF[1:]):
        raise UserError(f"'{reference.text}': vLLM serves safetensors; set endpoint.serve to llama_cpp")
    else:
        fetching.fetch_safetensors(reference, folder)
    with fetching.naming(reference, folder):
        contents.check(folder)


def check_one_gguf(folder: Path, pattern: str | None) -> None:
    """Raise UserError where a folder has no GGUF model, several, or a damaged one."""
    files = sorted(folder.glob(_GGUF))
    if not files:
        raise UserError(f"{folder}: no GGUF file {pattern or ''}".rstrip())
    models = sorted({_PART.sub("", file.name) for file in files})
    if len(models) > 1:
        raise UserError(f"{folder}: several models ({first(models)}); choose one by endpoint.serve_file")
    for file in files:
        check_gguf(file)
