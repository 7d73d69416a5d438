"""Fetch causal language models: safetensors as they are, GGUF files dequantised, as training needs."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_json, write_json
from mothertongue.common.errors import UserError
from mothertongue.model_folders import contents
from mothertongue.model_folders.gguf_header import check_gguf
from mothertongue.model_folders.reading import check, check_config, loading
from mothertongue.models import fetching
from mothertongue.models.references import Reference


def fetch(reference: Reference, folder: Path, kept: Path | None = None) -> None:
    """Fetch a model into `folder` as safetensors, with tokenizer and chat template; `kept` as for fetching.download.

    Raise UserError where it has no weights in safetensors or GGUF, or transformers cannot load the GGUF.
    """
    if reference.text.endswith(".gguf"):
        with tempfile.TemporaryDirectory() as scratch:
            resolved = fetching.download(reference, Path(scratch))
            with fetching.naming(reference, Path(scratch)):
                _convert(next(Path(scratch).glob("*.gguf")), folder)
        fetching.write_record(folder, reference, resolved)
    else:
        fetching.fetch(reference, folder, kept)
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"'{reference.text}': no weights in safetensors or GGUF; other formats are not loaded")
    with fetching.naming(reference, folder):
        check(folder)


def check_base(reference: Reference) -> None:
    """Raise UserError, before fetching its weights, where a model cannot be tuned.

    Its weights are quantised, or transformers does not know its type. GGUF files pass: they are dequantised.
    """
    if reference.text.endswith(".gguf"):
        return
    config = fetching.configuration(reference)
    check_config(config, f"'{reference.text}': config.json")
    if not contents.known_type(config):
        why = contents.NEEDS_CODE if "auto_map" in config else "transformers does not know such models"
        raise UserError(f"'{reference.text}' (model_type {config['model_type']}): {why}")
    if settings := config.get("quantization_config"):
        raise UserError(
            f"'{reference.text}': its weights come quantised ({settings.get('quant_method', 'config.json says so')}), "
            "and no adapter can be merged into those; name the model in 16 bits that they were made of, and for QLoRA "
            "set tuning.quantization to nf4"
        )


def _convert(file: Path, folder: Path) -> None:
    """Convert a GGUF model to safetensors in bfloat16, with its tokenizer and chat template.

    Raise UserError where transformers cannot load it.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    from mothertongue.models import tokenizer_files

    logging.disable_progress_bar()
    dequantised = {"quantization_config": GgufConfig(dequantize=True), "dtype": torch.bfloat16}
    check_gguf(file)
    with loading(file, "cannot be loaded as a GGUF model"), _parsed_once():
        # transformers' annotations omit the second value that output_loading_info adds.
        loaded: tuple[Any, dict[str, Any]] = AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment]
            file.parent, gguf_file=file.name, trust_remote_code=False, output_loading_info=True, **dequantised
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    model, account = loaded
    if missing := sorted(account["missing_keys"]):
        raise UserError(f"{file}: damaged, or of no causal language model: {missing[0]} is missing")
    model.save_pretrained(folder)
    tokenizer_files.save(tokenizer, folder)
    path = folder / "config.json"
    write_json(path, with_older_names(read_json(path)))


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Let transformers parse a GGUF file once: it does so for configuration, tokenizer and weights.

    It also asks for the names of all tensors once a tensor. Without either a small model is converted in half the time.
    """
    import gguf

    names = ("GGUFReader", "get_tensor_name_map")
    own = {name: getattr(gguf, name) for name in names}
    try:
        for name in names:
            setattr(gguf, name, lru_cache(maxsize=1)(own[name]))
        yield
    finally:
        for name in names:
            setattr(gguf, name, own[name])


def with_older_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return transformers 5's configuration with RoPE's base frequency and scaling also under transformers 4's names.

    Without them, transformers 4 would use its default values.
    """
    rope = config.get("rope_parameters") or {}
    scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
    older: dict[str, Any] = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
    if older and scaling.get("rope_type", "default") != "default":
        older["rope_scaling"] = scaling
    return {**config, **older}
