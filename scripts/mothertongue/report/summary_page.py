"""The summary page: the table of all evaluated adapters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.atomic_files import read_json
from mothertongue.common.errors import UserError
from mothertongue.common.languages import Language
from mothertongue.evaluation import compared, systems
from mothertongue.evaluation.estimate import Estimate, find
from mothertongue.formats import training_record
from mothertongue.models.record import base_name
from mothertongue.report import adapter_page, html

SIDES = ("base", "base_system_prompt", "adapter")


@dataclass(frozen=True)
class Row:
    """One adapter. `folder` is its path within the language's folder, `report` the path of its report, if there is one.

    `precision` is what the models were loaded in, `read` what training read, `kind` the kind of held-out text of
    `bits`, as in the adapter's report; `in_language` is by system. The gains are those of the adapter over its base
    model in the same precision, on the same prompts and threads.
    """

    lang: str
    folder: str
    base_model: str | None
    method: str | None
    precision: str | None
    read: str | None
    kind: str
    bits: Mapping[str, Estimate | None]
    in_language: Mapping[str, Estimate | None]
    gain_bits: Estimate | None
    gain_language: Estimate | None
    report: str | None


def read(metrics: Path, results: Path) -> Row:
    """Return the row of an evaluation, from its metrics.json and the files around it.

    Raise UserError where it is not below `results`.
    """
    try:
        lang, *inner = metrics.resolve().relative_to(results.resolve()).parts[:-2]
    except ValueError:
        raise UserError(f"{metrics}: not in {results}/{{lang}}/evaluation; give the results folder it is in") from None
    own = results / lang / Path(*inner)
    measured, training = read_json(metrics), _read(own / "adapter" / "training.json")
    settings, gain = measured.get("settings", {}), compared.between(measured, "adapter", "base")
    kind = adapter_page.main_text(measured)
    report = own / "report.html"
    return Row(
        lang=lang,
        folder="/".join(inner),
        base_model=_recorded(lambda: base_name(training["base_model"])),
        method=training.get("settings", {}).get("method"),
        precision=_precision(settings),
        read=_recorded(lambda: training_record.data_of(training)),
        kind=kind,
        bits={model: find(measured, "bits_per_byte", model, kind) for model in ("base", "adapter")},
        in_language={side: find(measured, "answers", side, "all", "in_language") for side in SIDES},
        gain_bits=gain.bits(kind),
        gain_language=gain.answers("in_language"),
        report=str(report.relative_to(results)) if report.is_file() else None,
    )


def render(rows: Sequence[Row], languages: Mapping[str, Language], template: Path) -> str:
    """Return the page, rendered from its template."""
    names = {code: language.name for code, language in languages.items()}
    labels = [systems.BY_NAME[side] for side in SIDES]
    precisions = {(row.base_model, row.precision) for row in rows if row.base_model and row.precision}
    mixed = len(precisions) > len({model for model, _ in precisions})
    return html.render(template, rows=rows, names=names, sides=labels, mixed=mixed)


def _precision(settings: Mapping) -> str | None:
    """Return the precision of an evaluation's models: nf4, or the type of numbers where they are not quantised.

    Where a server answered, it is that of the bits per byte, and the server's engine and file stand beside.
    """
    quantization, engine = settings.get("quantization"), settings.get("engine", "transformers")
    precision: str | None = settings.get("dtype") if quantization == "none" else quantization
    if precision is None or engine == "transformers":
        return precision
    return f"{precision}, answers by {engine}" + (f" from {settings['gguf']}" if settings.get("gguf") else "")


def _recorded(read: Callable[[], str]) -> str | None:
    """Return what a training.json has; None where it has not, as one of an earlier version."""
    try:
        return read()
    except (KeyError, TypeError):
        return None


def _read(path: Path) -> Mapping:
    return read_json(path) if path.is_file() else {}
