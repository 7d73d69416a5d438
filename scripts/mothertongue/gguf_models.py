"""GGUF files as base models: their weights dequantised, which training needs."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

logging.disable_progress_bar()


def convert(file: Path, folder: Path) -> None:
    """Write a GGUF model as safetensors in bfloat16, with its tokenizer and chat template."""
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
