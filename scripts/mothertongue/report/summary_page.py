"""The summary page: the table of all evaluated adapters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.atomic_files import read_json
from mothertongue.common.errors import UserError
from mothertongue.common.languages import Language
from mothertongue.evaluation import systems
from mothertongue.evaluation.estimate import Estimate, find
from mothertongue.report import html

SIDES = ("base", "base_system_prompt", "adapter")


@dataclass(frozen=True)
class Row:
    """One adapter. `folder` is its path within the language's folder, `report` the path of its report, if there is one.

    `messages` counts the dataset's messages, `threads` the training threads; `in_language` is by system.
    """

    lang: str
    folder: str
    base_model: str | None
    method: str | None
    messages: int | None
    threads: int | None
    bits: Mapping[str, Estimate | None]
    in_language: Mapping[str, Estimate | None]
    report: str | None


def read(metrics: Path, results: Path) -> Row:
    """Return the row of an evaluation, from its metrics.json and the files around it.

    Raise UserError where it is not below `results`.
    """
    try:
        lang, *inner = metrics.resolve().relative_to(results.resolve()).parts[:-2]
    except ValueError:
        raise UserError(f"{metrics}: not in {results}/{{lang}}/evaluation; give the results folder it is in") from None
    language, own = results / lang, results / lang / Path(*inner)
    measured = read_json(metrics)
    training = _read(own / "adapter" / "training.json")
    accounting = _read(language / "dataset" / "accounting.json")
    report = own / "report.html"
    return Row(
        lang=lang,
        folder="/".join(inner),
        base_model=training.get("base_model", {}).get("reference"),
        method=training.get("settings", {}).get("method"),
        messages=accounting.get("total", {}).get("out"),
        threads=_read(language / "threads" / "train.accounting.json").get("threads"),
        bits={model: _first(measured, "bits_per_byte", model) for model in ("base", "adapter")},
        in_language={side: find(measured, "answers", side, "all", "in_language") for side in SIDES},
        report=str(report.relative_to(results)) if report.is_file() else None,
    )


def render(rows: Sequence[Row], languages: Mapping[str, Language], template: Path) -> str:
    """Return the page, rendered from its template."""
    names = {code: language.name for code, language in languages.items()}
    labels = [systems.BY_NAME[side] for side in SIDES]
    return html.render(template, rows=rows, names=names, sides=labels)


def _first(metrics: Mapping, *path: str) -> Estimate | None:
    """Return the estimate for native text, else for translated text."""
    return find(metrics, *path, "native") or find(metrics, *path, "translated")


def _read(path: Path) -> Mapping:
    return read_json(path) if path.is_file() else {}
