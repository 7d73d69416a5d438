"""What the report of an adapter is made of: the files of its run, read once. What is not there is None, or empty."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_json, read_jsonl
from mothertongue.common.licences import is_noncommercial
from mothertongue.formats.messages import SPLITS, TRANSLATED, read
from mothertongue.report import examples
from mothertongue.report.examples import Example
from mothertongue.report.run_costs import Step

PLOTS = ("language", "bits_per_byte", "training")
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".npz")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model that the run used: its reference as `name`, pinned revision, licence, the checksums of its weights."""

    role: str
    name: str
    revision: str | None
    licence: str | None
    checksums: Mapping[str, str]
    messages: int | None = None

    @property
    def noncommercial(self) -> bool:
        """Whether its licence forbids commercial use."""
        return is_noncommercial(self.licence)


@dataclass(frozen=True)
class Source:
    """The source dataset: its name and licence by the configuration, and what was fetched of it."""

    name: str
    licence: str
    resolved: Mapping[str, str]
    role: str = "source dataset"

    @property
    def noncommercial(self) -> bool:
        """Whether its licence forbids commercial use."""
        return is_noncommercial(self.licence)


@dataclass(frozen=True)
class Answered:
    """A held-out prompt with the answers of the sides, in their order."""

    kind: str | None
    prompt: str
    reference: str | None
    answers: Mapping[str, Json]


@dataclass(frozen=True)
class Run:
    """All that the page shows.

    `routed` counts messages by route and status, `threads` and `preferences` are accounts by split, `settings` are the
    configuration's values that differ from its defaults, `plots` SVG pictures by name.
    """

    lang: str
    name: str
    source: Source
    models: Sequence[Model]
    settings: Mapping[str, Any]
    accounting: Json
    quality: Json
    routed: Mapping[tuple[str, str], int]
    examples: Mapping[str, Sequence[Example]]
    threads: Mapping[str, Json]
    preferences: Mapping[str, Json]
    training: Json | None
    metrics: Json | None
    harness: Json | None
    prompts: Sequence[Answered]
    plots: Mapping[str, str]
    steps: Sequence[Step]


def read_dataset(folder: Path) -> list[dict[str, Any]]:
    """The messages of a dataset that scripts/combine.py wrote, with the columns that the page shows."""
    columns = ["message_id", "source_lang", "source_text", "text", "route", "status", "reasons"]
    tables = [read(folder / f"{split}.parquet", TRANSLATED).select(columns) for split in SPLITS]
    return [row for table in tables for row in table.to_pylist()]


def routed(rows: Iterable[Json], accounting: Json) -> dict[tuple[str, str], int]:
    """Messages by route and status; those that `quality.on_flagged: drop` left out of the dataset are flagged."""
    counts = Counter((row["route"], row["status"]) for row in rows)
    for route, number in accounting["total"]["route"].items():
        dropped = number - sum(count for (own, _), count in counts.items() if own == route)
        counts[route, "flagged"] += dropped
    return {pair: count for pair, count in sorted(counts.items()) if count}


def read_source(record: Path, name: str, licence: str) -> Source:
    """The source dataset by fetch's record of it."""
    return Source(name, licence, read_json(record).get("resolved", {}))


def read_models(folders: Iterable[Path], base: Path, quality: Json) -> list[Model]:
    """The translation models, with the messages that each had a part in, the most used first; then the base model."""
    used = quality["total"]["model"]
    translators: list[tuple[int, Model]] = []
    for folder in folders:
        model = _read_model("translation model", folder)
        own = {model.name, f"{model.name}@{model.revision}"}
        # A message that came through English names two: a@1+b@2.
        messages = sum(count for names, count in used.items() if own & set(names.split("+")))
        translators.append((messages, replace(model, messages=messages)))
    translators.sort(key=lambda translator: (-translator[0], translator[1].name))
    return [*(model for _, model in translators), _read_model("base model", base)]


def pivots(quality: Json) -> list[str]:
    """The source languages whose messages went through English."""
    return [source for source, figures in quality["by_source"].items() if figures["route"]["pivot"]]


def read_accounts(paths: Iterable[Path]) -> dict[str, Json]:
    """Accounts by split, which begins their name."""
    return {path.name.split(".")[0]: read_json(path) for path in paths}


def read_prompts(path: Path, count: int) -> list[Answered]:
    """The first prompts of samples.jsonl with the answers of every side; those written in the language come first."""
    grouped: dict[tuple[str | None, str], list[Json]] = {}
    for sample in read_jsonl(path, prompt=str, side=str) if path.is_file() else []:
        grouped.setdefault((sample.get("kind"), sample["prompt"]), []).append(sample)
    native_first = sorted(grouped.items(), key=lambda item: item[0][0] != "native")
    return [
        Answered(kind, prompt, samples[0].get("reference"), {sample["side"]: sample for sample in samples})
        for (kind, prompt), samples in native_first[:count]
    ]


def read_plots(folder: Path) -> dict[str, str]:
    """The evaluation's pictures that are there."""
    files = {name: folder / f"{name}.svg" for name in PLOTS}
    return {name: path.read_text(encoding="utf-8") for name, path in files.items() if path.is_file()}


def read_if_there(path: Path) -> Any:
    """A JSON file, or None where there is none."""
    return read_json(path) if path.is_file() else None


def read_examples(rows: Iterable[Json], quality: Json) -> dict[str, list[Example]]:
    """Examples by source language, the one with the most messages first."""
    drawn = examples.draw(rows)
    return {source: drawn[source] for source in quality["by_source"] if source in drawn}


def _read_model(role: str, folder: Path) -> Model:
    """A model by the record of its fetching."""
    record = read_if_there(folder / "fetched.json") or {}
    weights = {name: checksum for name, checksum in record.get("files", {}).items() if name.endswith(_WEIGHTS)}
    return Model(role, record.get("reference", folder.name), record.get("revision"), record.get("licence"), weights)
