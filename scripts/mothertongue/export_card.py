"""The card of an adapter's exports: what each file is, its size, what it has lost, its checksum, how to run it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.adapter_card import base_name
from mothertongue.files import sha256

PACKED = ("gptq", "awq")
# The ranks that vLLM takes as --max-lora-rank.
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Exported:
    """A file in the export's folder, and its perplexity on held-out threads; None where it was not measured."""

    name: str
    megabytes: float
    sha256: str
    perplexity: float | None


def weights(folder: Path, model: str) -> list[str]:
    """The weight files of a model in the export's folder, by name."""
    return sorted(f"{model}/{path.name}" for path in (folder / model).glob("*.safetensors"))


def exported(folder: Path, perplexities: Mapping[str, float | None]) -> list[Exported]:
    """The files of a folder, from the perplexity of each by its name."""
    return [
        Exported(name, path.stat().st_size / 1e6, sha256(path), perplexity)
        for name, perplexity in perplexities.items()
        if (path := folder / name)
    ]


def card(
    record: Mapping[str, Any],
    language: str,
    base_model: str,
    merged_as: str,
    files: Sequence[Exported],
    measured: Mapping[str, Any],
) -> str:
    """The card from what training.json records.

    `base_model` is how it is named from here, `merged_as` the weights that the adapter is merged into, `measured` what
    scripts/perplexity.py wrote.
    """
    model, lang = base_name(record["base_model"]), record["lang"]
    tuned = measured["perplexity"]["adapter"]
    forms = [
        [name if name == "adapter" else f"{name} weights", *_lost(value, tuned)]
        for name, value in measured["perplexity"].items()
    ]
    rows = [
        [f"`{file.name}`", f"{file.megabytes:,.0f} MB", *_lost(file.perplexity, tuned), f"`{file.sha256}`"]
        for file in files
    ]
    return "\n".join(
        [
            f"# {model} in {language}: exports",
            "",
            f"The adapter of `../adapter`, and {model} with it, for other programs.",
            "",
            *_table(["file", "size", "perplexity", "beside the adapter", "SHA-256"], rows),
            "",
            f"Perplexity is of the assistant's {measured['tokens']:,} tokens in {measured['threads']:,} held-out"
            " threads, lower is better; that of GGUF files is measured by llama.cpp's code, the others by transformers,"
            " what is packed as gptq or awq unpacked to 16 bits."
            f" `merged/` is made of the base model's {merged_as} weights:",
            "",
            *_table(["model", "perplexity", "beside the adapter"], forms),
            "",
            "## How to run each, from this folder",
            "",
            *_commands(record, f"{lang}-chat", base_model, [file.name for file in files]),
            "",
        ]
    )


def _lost(perplexity: float | None, tuned: float | None) -> list[str]:
    if not perplexity or not tuned:
        return ["not measured", "not measured"]
    return [f"{perplexity:.3f}", f"x {perplexity / tuned:.3f}"]


def _commands(record: Mapping[str, Any], name: str, base_model: str, files: Sequence[str]) -> list[str]:
    """One line a program."""
    quantised = next(file for file in files if file.startswith("gguf/"))
    rank = next((rank for rank in _VLLM_RANKS if rank >= record["settings"]["lora_rank"]), None)
    lora = f"vllm serve {base_model} --enable-lora --max-lora-rank {rank} --lora-modules {name}=../adapter"
    template = "--jinja --chat-template-file merged/chat_template.jinja"
    alone = f"llama-server -m BASE_MODEL.gguf --lora adapter.gguf {template}"
    commands = {
        "vLLM, the adapter": lora if rank and not record["settings"]["dora"] else None,
        "vLLM, the merged model": f"vllm serve merged --served-model-name {name}",
        **{
            f"vLLM, {form.upper()}": f"vllm serve {form} --served-model-name {name}"
            for form in PACKED
            if any(file.startswith(f"{form}/") for file in files)
        },
        "Ollama": f"ollama create {name} -f gguf/Modelfile && ollama run {name}",
        "llama.cpp": f"llama-server -m {quantised} --jinja",
        "llama.cpp, the adapter over a GGUF file of the base model": alone if "adapter.gguf" in files else None,
    }
    return _table(["program", "command"], [[of, f"`{line}`"] for of, line in commands.items() if line])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
