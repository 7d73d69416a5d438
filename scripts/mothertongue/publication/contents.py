"""The published files of a dataset, its threads, preferences and adapters: what rules write, with a card."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.cards.adapter import Published, adapter_card
from mothertongue.cards.dataset import on_hub
from mothertongue.cards.preferences import preferences_card
from mothertongue.cards.teachers import teachers_of
from mothertongue.cards.threads import threads_card
from mothertongue.common import front_matter
from mothertongue.common.atomic_files import read_json, read_object
from mothertongue.common.errors import UserError
from mothertongue.evaluation import judged
from mothertongue.model_folders.reading import read_training
from mothertongue.models.record import base_name
from mothertongue.publication.upload import Files, files_of

# The files that the rules combine, threads and preferences (the same names), tune, evaluate, harness and judge write.
# Tokenizer files depend on its class.
DATASET = (
    *("train.parquet", "validation.parquet", "README.md", "accounting.json", "quality.json"),
    *(f"quality/{plot}.svg" for plot in ("statuses", "reasons", "length_ratios", "languages", "scores")),
)
THREADS = tuple(f"{split}{suffix}" for split in ("train", "validation") for suffix in (".jsonl", ".accounting.json"))
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model"),
    *("sentencepiece.bpe.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt"),
)
ADAPTER = (
    *("adapter_config.json", "adapter_model.safetensors", "README.md", "training.json", "chat_template.jinja"),
    *TOKENIZER,
)
EVALUATION = ("metrics.json", "samples.jsonl", "language.svg", "bits_per_byte.svg", "training.svg", "harness.json")


@dataclass(frozen=True)
class Publishable:
    """The inputs of a publication, and its repository.

    `dataset_card` is the card of the dataset that threads and adapters were made from, `dataset` its hub repository;
    `evaluation` is the folder of an adapter's evaluation, if there is one.
    """

    folder: Path
    repository: str
    lang: str
    name: str
    dataset: str
    dataset_card: Path
    evaluation: Path | None = None


def dataset_files(material: Publishable, scratch: Path) -> Files:
    """Return the files of a dataset."""
    files = files_of(material.folder, DATASET)
    card = on_hub(_read(material.folder / "README.md"), material.repository)
    return files | _written(scratch, {"README.md": card})


# The keys that are read from an adapter's training.json.
_NEEDED = ("system_prompt", "settings.method", "base_model.reference", "base_model.revision", "base_model.hub_id")


def threads_files(material: Publishable, scratch: Path) -> Files:
    """Return the threads of both splits with their accounting files."""
    return _conversations(material, scratch, threads_card)


def preferences_files(material: Publishable, scratch: Path) -> Files:
    """Return the preferences of both splits with their accounting files."""
    return _conversations(material, scratch, preferences_card)


def _conversations(material: Publishable, scratch: Path, card: Callable[..., str]) -> Files:
    files = files_of(material.folder, THREADS)
    accounting = {split: read_json(material.folder / f"{split}.accounting.json") for split in ("train", "validation")}
    header = front_matter.read(_read(material.dataset_card), material.dataset_card)
    text = card(material.name, material.repository, material.dataset, header, accounting)
    return files | _written(scratch, {"README.md": text})


def adapter_files(material: Publishable, scratch: Path) -> Files:
    """Return the files of an adapter and its evaluation, without the local path of its base model."""
    files = files_of(material.folder, ADAPTER)
    config, record = read_object(material.folder / "adapter_config.json"), read_training(material.folder, *_NEEDED)
    base, header = record["base_model"], front_matter.read(_read(material.dataset_card), material.dataset_card)
    evaluation = files_of(material.evaluation, EVALUATION) if material.evaluation else {}
    metrics = read_json(evaluation["metrics.json"]) if "metrics.json" in evaluation else {}
    found = None
    if material.evaluation and (found := judged.of_evaluation(material.evaluation)):
        evaluation |= files_of(material.evaluation, (judged.FILE,))
    licences = header.get("license_name") or header.get("license") or []
    published = Published(
        material.repository,
        [material.dataset, *header.get("source_datasets", [])],
        licences if isinstance(licences, list) else [licences],
        metrics,
        found or {},
        teachers_of(header),
    )
    if not base["hub_id"]:
        config["base_model_name_or_path"] = base_name(base)
    shown = {key: value for key, value in base.items() if key != "folder"} | {"reference": base_name(base)}
    changed = {
        "README.md": adapter_card(material.lang, material.name, record, "chat_template.jinja", published),
        "adapter_config.json": _json(config),
        "training.json": _json(record | {"base_model": shown}),
    }
    beside = {f"evaluation/{name}": path for name, path in evaluation.items()}
    return files | beside | _written(scratch, changed)


PREPARE: dict[str, Callable[[Publishable, Path], Files]] = {
    "dataset": dataset_files,
    "threads": threads_files,
    "preferences": preferences_files,
    "adapter": adapter_files,
}
# The type of each one's repository on the hub.
KINDS = {"dataset": "dataset", "threads": "dataset", "preferences": "dataset", "adapter": "model"}


def _read(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path}: no such file; build it first")
    return path.read_text(encoding="utf-8")


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _written(scratch: Path, texts: dict[str, str]) -> Files:
    """Write texts to a scratch folder, and return their files, which replace those of the folder."""
    for name, text in texts.items():
        (scratch / name).write_text(text, encoding="utf-8")
    return {name: scratch / name for name in texts}
