"""The data of an adapter's report: the files of its run, read once. Missing files are None or empty."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mothertongue.common.atomic_files import read_json, read_jsonl
from mothertongue.common.licences import is_noncommercial
from mothertongue.formats.messages import SPLITS, TRANSLATED, MessageFiles
from mothertongue.models.record import identity_of
from mothertongue.report import examples
from mothertongue.report.examples import Example
from mothertongue.report.run_costs import Asked, Step
from mothertongue.teaching import naming

TRANSLATOR = "translation model"
PLOTS = ("language", "bits_per_byte", "training")
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".npz")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model of the run: its reference as `name`, pinned revision, licence, and the checksums of its weights.

    `identity` is the name that messages have for it.
    """

    role: str
    name: str
    revision: str | None
    licence: str | None
    checksums: Mapping[str, str]
    identity: str
    messages: int | None = None

    @property
    def noncommercial(self) -> bool:
        """Whether its licence forbids commercial use."""
        return is_noncommercial(self.licence)


@dataclass(frozen=True)
class Source:
    """The source dataset: its configured name and licence, and the files and revisions that were fetched."""

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
    """A held-out prompt with the answers of the systems, in their order."""

    kind: str | None
    prompt: str
    reference: str | None
    answers: Mapping[str, Json]


@dataclass(frozen=True)
class Run:
    """All data of the page.

    `variant` names the adapter among those of its language, empty for the main one. `routed` counts messages by route
    and status, `threads` and `preferences` are accountings by split of what the adapter was tuned on, `used` counts
    messages by their use, `settings` are the configured values that differ from the defaults, `plots` SVG pictures by
    name. `asked` is what an endpoint was asked that translated, `judging` what a judge was, and `judged` what it found.
    """

    lang: str
    name: str
    variant: str
    sources: Sequence[Source]
    models: Sequence[Model]
    settings: Mapping[str, Any]
    accounting: Json
    quality: Json
    routed: Mapping[tuple[str, str], int]
    examples: Mapping[str, Sequence[Example]]
    threads: Mapping[str, Json]
    preferences: Mapping[str, Json]
    used: Mapping[str, int]
    training: Json | None
    metrics: Json | None
    harness: Json | None
    prompts: Sequence[Answered]
    plots: Mapping[str, str]
    steps: Sequence[Step]
    asked: Sequence[Asked] = ()
    judged: Json | None = None
    judging: Asked | None = None


def variant_of(folder: str) -> str:
    """Return the name of the adapter in a folder of a language: `careful, dpo` for variants/careful/dpo/."""
    return ", ".join(part for part in Path(folder).parts if part != "variants")


def read_dataset(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the messages of a dataset that scripts/combine.py wrote, with the columns that the page shows."""
    columns = ["message_id", "source_lang", "source_text", "text", "route", "status", "reasons"]
    schema = pa.schema([TRANSLATED.field(name) for name in columns])
    for table in MessageFiles([folder / f"{split}.parquet" for split in SPLITS], schema):
        yield from table.select(columns).to_pylist()


def routed(rows: Iterable[Json], accounting: Json) -> dict[tuple[str, str], int]:
    """Return messages by route and status; those that `quality.on_flagged: drop` left out count as flagged."""
    counts = Counter((row["route"], row["status"]) for row in rows)
    for route, number in accounting["total"]["route"].items():
        dropped = number - sum(count for (own, _), count in counts.items() if own == route)
        counts[route, "flagged"] += dropped
    return {pair: count for pair, count in sorted(counts.items()) if count}


def read_source(record: Path, name: str, licence: str) -> Source:
    """Return the source dataset, from the record that scripts/fetch.py wrote."""
    return Source(name, licence, read_json(record).get("resolved", {}))


def read_models(folders: Iterable[Path], base: Path, quality: Json, teacher: Path | None = None) -> list[Model]:
    """Return the translation models with their message counts, most used first, then the teacher and the base model.

    A message translated through English counts for both of its models.
    """
    used = quality["total"]["model"]
    translators: list[tuple[int, Model]] = []
    for folder in folders:
        model = _read_model(TRANSLATOR, folder)
        # A message that two models have a part in names both, a@1+b@2; a local model's name may have a + of its own.
        messages = sum(count for names, count in used.items() if f"+{model.identity}+" in f"+{names}+")
        translators.append((messages, replace(model, messages=messages)))
    translators.sort(key=lambda translator: (-translator[0], translator[1].name))
    teachers = [_read_model("teacher", folder) for folder in (teacher,) if folder]
    answered = [replace(one, identity=naming.identity(one.identity)) for one in teachers]
    answered = [replace(one, messages=used.get(one.identity, 0)) for one in answered]
    return [*(model for _, model in translators), *answered, _read_model("base model", base)]


def pivots(quality: Json) -> list[str]:
    """Return the source languages whose messages were translated through English."""
    return [source for source, figures in quality["by_source"].items() if figures["route"]["pivot"]]


def read_accounts(paths: Iterable[Path]) -> dict[str, Json]:
    """Return the accounting beside files of threads or preferences, by split, which is their name."""
    return {path.stem: read_json(path.with_suffix(".accounting.json")) for path in paths}


def read_prompts(path: Path, count: int) -> list[Answered]:
    """Return the first prompts of samples.jsonl with the answers of every system, native prompts first."""
    grouped: dict[tuple[str | None, str], list[Json]] = {}
    for sample in read_jsonl(path, prompt=str, side=str) if path.is_file() else []:
        grouped.setdefault((sample.get("kind"), sample["prompt"]), []).append(sample)
    native_first = sorted(grouped.items(), key=lambda item: item[0][0] != "native")
    return [
        Answered(kind, prompt, samples[0].get("reference"), {sample["side"]: sample for sample in samples})
        for (kind, prompt), samples in native_first[:count]
    ]


def read_plots(folder: Path) -> dict[str, str]:
    """Return the existing plots of the evaluation, as SVG by name."""
    files = {name: folder / f"{name}.svg" for name in PLOTS}
    return {name: path.read_text(encoding="utf-8") for name, path in files.items() if path.is_file()}


def read_if_there(path: Path) -> Any:
    """Return the content of a JSON file; None where there is no file."""
    return read_json(path) if path.is_file() else None


def read_examples(rows: Iterable[Json], quality: Json) -> dict[str, list[Example]]:
    """Return examples by source language, most messages first."""
    drawn = examples.draw(rows)
    return {source: drawn[source] for source in quality["by_source"] if source in drawn}


def _read_model(role: str, folder: Path) -> Model:
    """Return a model from its fetched.json."""
    record = read_if_there(folder / "fetched.json") or {}
    weights = {name: checksum for name, checksum in record.get("files", {}).items() if name.endswith(_WEIGHTS)}
    name, revision = record.get("reference", folder.name), record.get("revision")
    identity = identity_of(record | {"reference": name, "revision": revision})
    return Model(role, name, revision, record.get("licence"), weights, identity)
