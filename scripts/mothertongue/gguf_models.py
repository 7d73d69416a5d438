"""GGUF files as base models: their weights dequantised, which training needs."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

from mothertongue.errors import UserError

logging.disable_progress_bar()


def convert(file: Path, folder: Path) -> None:
    """Write a GGUF model as safetensors in bfloat16, with its tokenizer and chat template.

    Raises UserError where transformers cannot load it.
    """
    try:
        model = _load(file)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise UserError(f"{file.name}: cannot be loaded as a GGUF model: {error}") from None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _load(file: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
