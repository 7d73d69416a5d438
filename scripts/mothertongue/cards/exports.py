"""The card of an adapter's exports: what each file is, its size, what it has lost, its checksum, how to run it."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.cards import render
from mothertongue.common.atomic_files import read_json, sha256
from mothertongue.common.errors import UserError
from mothertongue.model_folders.contents import RECORD
from mothertongue.models.record import base_name

# What is asked of an adapter's training.json.
NEEDED = (
    "system_prompt", "settings.method", "settings.lora_rank", "settings.dora", "base_model.reference",
    "base_model.revision", "base_model.hub_id",
)  # fmt: skip
# The ranks that vLLM takes as --max-lora-rank.
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# The share of tokens below which more than odd white space is read otherwise: control tokens, say.
_ALIKE = 0.99
# What other trainers are given, and how each is run.
_TRAINERS = {
    "axolotl.yaml": ("Axolotl", "axolotl train axolotl.yaml"),
    "unsloth_train.py": ("Unsloth", "python unsloth_train.py"),
    "dataset_info.json": (
        "LLaMA-Factory, the threads alone: the settings are yours",
        "llamafactory-cli train --dataset_dir . --dataset mothertongue_train",
    ),
}


@dataclass(frozen=True)
class Exported:
    """A file in the export's folder, and its perplexity on held-out threads; None where it was not measured."""

    name: str
    megabytes: float
    sha256: str
    perplexity: float | None


def weights(folder: Path, model: str) -> list[str]:
    """The weight files of a model in the export's folder, by name. Raises UserError where it has none."""
    found = sorted(f"{model}/{path.name}" for path in (folder / model).glob("*.safetensors"))
    if not found:
        raise UserError(f"{folder / model}: no weights in it; delete the folder, and run the same command again")
    return found


def exported(folder: Path, perplexities: Mapping[str, float | None]) -> list[Exported]:
    """The files of a folder, from the perplexity of each by its name.

    Checksums that stand in a model's fetched.json are not computed again.
    """
    models = {path.parent.name: read_json(path)["files"] for path in folder.glob(f"*/{RECORD}")}
    return [
        Exported(
            name,
            (folder / name).stat().st_size / 1e6,
            models.get(Path(name).parent.name, {}).get(Path(name).name) or sha256(folder / name),
            perplexity,
        )
        for name, perplexity in perplexities.items()
    ]


def card(
    folder: Path,
    record: Mapping[str, Any],
    language: str,
    served_as: str,
    base_model: str,
    merged_as: str,
    files: Sequence[Exported],
    measured: Mapping[str, Any],
    read: Mapping[str, int],
) -> str:
    """The card of a folder of exports from what training.json records.

    `served_as` is what other programs call the model, `base_model` how that one is named from here, `merged_as` the
    weights that the adapter is merged into, `measured` what scripts/perplexity.py wrote, `read` what
    scripts/gguf_perplexity.py wrote of a file's tokenizer.
    """
    model, names = base_name(record["base_model"]), [file.name for file in files]
    tuned = measured["perplexity"]["adapter"]
    forms = [
        [render.markdown(name if name == "adapter" else f"{name} weights"), *_lost(value, tuned)]
        for name, value in measured["perplexity"].items()
    ]
    rows = [
        [render.code(file.name), f"{file.megabytes:,.0f} MB", *_lost(file.perplexity, tuned), render.code(file.sha256)]
        for file in files
    ]
    return "\n".join(
        [
            f"# {render.markdown(f'{model} in {language}: exports')}",
            "",
            f"The adapter of `../adapter`, and {render.markdown(model)} with it, for other programs.",
            "",
            *_table(["file", "size", "perplexity", "beside the adapter", "SHA-256"], rows),
            "",
            *_others(folder, names),
            f"Perplexity is of the assistant's {measured['tokens']:,} tokens in {measured['threads']:,} held-out"
            " threads, lower is better; that of GGUF files is measured by llama.cpp's code, the others by transformers,"
            " what is packed as gptq or awq unpacked to 16 bits."
            f" {_reading(read)} `merged/` is made of the base model's {render.markdown(merged_as)} weights:",
            "",
            *_table(["model", "perplexity", "beside the adapter"], forms),
            "",
            "## How to run each, from this folder",
            "",
            *_commands(folder, record, served_as, base_model, names),
            "",
            "The adapter was trained with this system prompt, which Ollama's Modelfile brings along; other programs"
            " want it as a conversation's first message:",
            "",
            *render.quoted(record["system_prompt"]),
            "",
            *_training(folder, record),
        ]
    )


def _reading(read: Mapping[str, int]) -> str:
    """Whether llama.cpp's tokenizer, which measuring goes without, is the adapter's."""
    told = f"Of the threads' {read['tokens']:,} tokens llama.cpp's tokenizer makes {read['alike']:,} as training did"
    far = read["alike"] < _ALIKE * read["tokens"]
    return f"{told}: so few that it will answer worse than these figures say." if far else f"{told}."


def _others(folder: Path, names: Sequence[str]) -> list[str]:
    """The other exports that there are, which may be of another adapter."""
    patterns = ("*.gguf", "gguf/*.gguf", "gptq/*.safetensors", "awq/*.safetensors")
    found = [str(path.relative_to(folder)) for pattern in patterns for path in sorted(folder.glob(pattern))]
    # The other GGUF files are made of that one.
    others = [render.code(name) for name in found if name not in (*names, "gguf/f16.gguf")]
    if not others:
        return []
    return [f"Also here, and not of this card: {', '.join(others)}. Earlier exports leave such files.", ""]


def _lost(perplexity: float | None, tuned: float | None) -> list[str]:
    if not perplexity or not tuned:
        return ["not measured", "not measured"]
    return [f"{perplexity:.3f}", f"x {perplexity / tuned:.3f}"]


def _commands(folder: Path, record: Mapping[str, Any], name: str, base_model: str, files: Sequence[str]) -> list[str]:
    """One line a program."""
    models = dict.fromkeys(Path(file).parent.name for file in files if file.endswith(".safetensors"))
    commands = {
        f"vLLM, {render.code(f'{model}/')}": shlex.join(["vllm", "serve", model, "--served-model-name", name])
        for model in models
    }
    rank = next((rank for rank in _VLLM_RANKS if rank >= record["settings"]["lora_rank"]), None)
    if rank and not record["settings"]["dora"]:
        revision = ["--revision", record["base_model"]["revision"]] if record["base_model"]["hub_id"] else []
        # vLLM would take the template of the base model, and end answers where that does.
        spoken = ["--chat-template", "merged/chat_template.jinja", "--generation-config", "merged"]
        lora = ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules", f"{name}=../adapter"]
        commands["vLLM, the adapter"] = shlex.join(["vllm", "serve", base_model, *revision, *lora, *spoken])
    ollama = "Ollama"
    if not _has_template(folder / "gguf/Modelfile"):
        ollama += ", once `gguf/Modelfile` has a `TEMPLATE` of yours: without, it speaks another chat format"
    served, model = shlex.quote(name), shlex.quote(next(file for file in files if file.startswith("gguf/")))
    commands[ollama] = f"ollama create {served} -f gguf/Modelfile && ollama run {served}"
    commands["llama.cpp"] = f"llama-server -m {model} --jinja"
    if "adapter.gguf" in files:
        commands["llama.cpp, the adapter over a GGUF file of the base model"] = (
            "llama-server -m BASE_MODEL.gguf --lora adapter.gguf --jinja"
            " --chat-template-file merged/chat_template.jinja"
        )
    return _programs(commands.items())


def _has_template(modelfile: Path) -> bool:
    """Whether the chat template could be written in Ollama's language."""
    return any(line.startswith("TEMPLATE ") for line in modelfile.read_text(encoding="utf-8").splitlines())


def _training(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """How other programs train the same adapter: one of preferences is trained by none."""
    sft = record["settings"]["method"] == "sft"
    commands = [
        (f"{program}, `{file}`", line) for file, (program, line) in _TRAINERS.items() if sft and _trains(folder / file)
    ]
    title = "## How to train the same adapter with other programs, from this folder"
    return [title, "", *_programs(commands), ""] if commands else []


def _trains(file: Path) -> bool:
    """Whether a file for another trainer is there, and is no script that can only say why it does not train."""
    return file.exists() and "\nraise SystemExit(" not in file.read_text(encoding="utf-8")


def _programs(commands: Iterable[tuple[str, str]]) -> list[str]:
    return _table(["program", "command"], [[program, render.code(line)] for program, line in commands])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [render.row(*cells) for cells in (header, ["---"] * len(header), *rows)]
