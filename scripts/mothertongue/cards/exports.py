"""The card of an adapter's exports: description, size, perplexity, checksum and command of each file."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.cards import render, stated_licences, teachers
from mothertongue.common import licences
from mothertongue.common.atomic_files import read_json, sha256
from mothertongue.common.errors import UserError
from mothertongue.model_folders.contents import RECORD
from mothertongue.models.record import base_name

# The keys of an adapter's training.json that the card needs.
NEEDED = (
    "system_prompt", "settings.method", "settings.lora_rank", "settings.dora", "base_model.reference",
    "base_model.revision", "base_model.hub_id", "base_model.licence", "lang",
)  # fmt: skip
# The ranks that vLLM accepts for --max-lora-rank.
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# Below this share of equal tokens, more than unusual white space is tokenised differently: control tokens, for example.
_ALIKE = 0.99
# The files and folders for other trainers.
_TRAINERS = ("axolotl.yaml", "unsloth_train.py")
_TRAINER_FOLDERS = ("llama_factory", "axolotl_dpo")


@dataclass(frozen=True)
class Exported:
    """A file in the export folder, with its perplexity on held-out threads; None where it was not measured."""

    name: str
    megabytes: float
    sha256: str
    perplexity: float | None


def weights(folder: Path, model: str) -> list[str]:
    """Return the names of a model's weight files in the export folder. Raise UserError where there are none."""
    found = sorted(f"{model}/{path.name}" for path in (folder / model).glob("*.safetensors"))
    if not found:
        raise UserError(f"{folder / model}: no weights in it; delete the folder, and run the same command again")
    return found


def exported(folder: Path, perplexities: Mapping[str, float | None]) -> list[Exported]:
    """Return the exported files of a folder; `perplexities` maps their names to perplexities.

    Reuse the checksums in a model's fetched.json instead of computing them again.
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
    """Return the card of a folder of exports, from training.json.

    `served_as` is the model's name in other programs, `base_model` the hub id of the base model or its path from the
    export folder, `merged_as` the weights that the adapter is merged into, `measured` the output of
    scripts/perplexity.py, `read` the output of scripts/gguf_perplexity.py for the tokenizer of a GGUF file.
    """
    names = [file.name for file in files]
    model, base, taught = base_name(record["base_model"]), record["base_model"], record.get("teachers", {})
    return render.card(
        "exports",
        header=_header(record, names),
        model=model,
        **teachers.values(taught),
        stated=stated_licences.of_taught(model, base["licence"], taught),
        language=language,
        files=files,
        others=_others(folder, names),
        measured=measured,
        read=read,
        alike=read["alike"] >= _ALIKE * read["tokens"],
        merged_as=merged_as,
        packed=_serve_packed(served_as, names),
        lora=_serve_adapter(record, served_as, base_model),
        ollama=_ollama(served_as),
        speaks=_has_template(folder / "gguf/Modelfile"),
        llama_cpp=f"llama-server -m {shlex.quote(next(name for name in names if name.startswith('gguf/')))} --jinja",
        over_base=_over_base(names),
        system_prompt=record["system_prompt"],
        trainers=_trainers(folder, record),
    )


def _header(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    base, taught = record["base_model"], record.get("teachers", {})
    return {
        **render.languages(record["lang"]),
        "base_model": base["hub_id"],
        "base_model_relation": "finetune" if base["hub_id"] else None,
        **licences.header([base["licence"], *taught.values()], one=bool(taught)),
        "pipeline_tag": "text-generation",
        "tags": [
            "mothertongue",
            record["settings"]["method"],
            *(["gguf"] if any("gguf" in name for name in names) else []),
        ],
    }


def _others(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the other exports in the folder, which may be of another adapter."""
    patterns = ("*.gguf", "gguf/*.gguf", "base/*.gguf", "gptq/*.safetensors", "awq/*.safetensors")
    found = [str(path.relative_to(folder)) for pattern in patterns for path in sorted(folder.glob(pattern))]
    # f16.gguf is the intermediate that the other GGUF files are made from.
    return [name for name in found if name not in (*names, "gguf/f16.gguf", "base/f16.gguf")]


def _serve_packed(name: str, files: Sequence[str]) -> dict[str, str]:
    """Return vLLM's command for each model with packed or merged weights."""
    models = dict.fromkeys(Path(file).parent.name for file in files if file.endswith(".safetensors"))
    return {model: shlex.join(["vllm", "serve", model, "--served-model-name", name]) for model in models}


def _serve_adapter(record: Mapping[str, Any], name: str, base_model: str) -> str | None:
    """Return vLLM's command for the adapter on its base model; None where vLLM does not support such an adapter."""
    rank = next((rank for rank in _VLLM_RANKS if rank >= record["settings"]["lora_rank"]), None)
    if not rank or record["settings"]["dora"]:
        return None
    revision = ["--revision", record["base_model"]["revision"]] if record["base_model"]["hub_id"] else []
    # By default vLLM uses the base model's chat template and end-of-turn token.
    spoken = ["--chat-template", "merged/chat_template.jinja", "--generation-config", "merged"]
    lora = ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules", f"{name}=../adapter"]
    return shlex.join(["vllm", "serve", base_model, *revision, *lora, *spoken])


def _ollama(name: str) -> str:
    served = shlex.quote(name)
    return f"ollama create {served} -f gguf/Modelfile && ollama run {served}"


def _over_base(names: Sequence[str]) -> str | None:
    """Return llama.cpp's command for the adapter laid over the base model; None where the adapter is not exported."""
    if "adapter.gguf" not in names:
        return None
    base = next((name for name in names if name.startswith("base/")), "BASE_MODEL.gguf")
    spoken = ["--jinja", "--chat-template-file", "merged/chat_template.jinja"]
    return shlex.join(["llama-server", "-m", base, "--lora", "adapter.gguf", *spoken])


def _has_template(modelfile: Path) -> bool:
    """Return whether the Modelfile has a chat template: some cannot be written in Ollama's language."""
    return any(line.startswith("TEMPLATE ") for line in modelfile.read_text(encoding="utf-8").splitlines())


def _trainers(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Return the files and folders with which other programs train the same adapter."""
    method = record["settings"]["method"]
    files = [file for file in _TRAINERS if method == "sft" and _trains(folder / file)]
    folders = [name for name in _TRAINER_FOLDERS if (folder / name).is_dir()]
    return files + [name for name in folders if method == "dpo" or name != "axolotl_dpo"]


def _trains(file: Path) -> bool:
    """Return whether a file for another trainer exists, and is not a script that only reports why it cannot train."""
    return file.exists() and "\nraise SystemExit(" not in file.read_text(encoding="utf-8")
