"""Fetching causal language models: safetensors as they are, GGUF files dequantised, which training needs."""

import tempfile
from pathlib import Path

from mothertongue import fetching
from mothertongue.errors import UserError
from mothertongue.references import Reference


def fetch(reference: Reference, folder: Path, kept: Path | None = None) -> None:
    """Fetch a model into `folder` as safetensors, with its tokenizer and chat template; `kept` as for fetching.bring.

    Raises UserError where it has no weights in safetensors or GGUF, or transformers cannot load the GGUF.
    """
    if reference.text.endswith(".gguf"):
        with tempfile.TemporaryDirectory() as scratch:
            resolved = fetching.bring(reference, Path(scratch))
            _convert(next(Path(scratch).glob("*.gguf")), folder)
        fetching.write_record(folder, reference, resolved)
    else:
        fetching.fetch(reference, folder, kept)
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"'{reference.text}': no weights in safetensors or GGUF; other formats are not loaded")


def check_base(reference: Reference) -> None:
    """Raise UserError, before its weights are fetched, where a model to be tuned comes in less than 16 bits.

    A GGUF file's weights are dequantised.
    """
    settings = {} if reference.text.endswith(".gguf") else fetching.configuration(reference).get("quantization_config")
    if settings:
        raise UserError(
            f"'{reference.text}': its weights come quantised ({settings.get('quant_method', 'config.json says so')}), "
            "and no adapter can be merged into those; name the model in 16 bits that they were made of, and for QLoRA "
            "set tuning.quantization to nf4"
        )


def _convert(file: Path, folder: Path) -> None:
    """Write a GGUF model as safetensors in bfloat16, with its tokenizer and chat template.

    Raises UserError where transformers cannot load it.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    dequantised = {"quantization_config": GgufConfig(dequantize=True), "dtype": torch.bfloat16}
    try:
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, **dequantised)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise UserError(f"{file.name}: cannot be loaded as a GGUF model: {error}") from None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
