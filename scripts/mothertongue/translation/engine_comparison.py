"""Compare engines on one parallel text: translation quality (see engine_scores), speed and memory."""

import argparse
import contextlib
import io
import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mothertongue.common import hardware
from mothertongue.common.atomic_files import atomic_folder
from mothertongue.common.errors import UserError
from mothertongue.common.licences import is_noncommercial
from mothertongue.common.plain_text import guard_streams
from mothertongue.common.progress import log
from mothertongue.common.text_table import aligned
from mothertongue.common.tsv import Tables
from mothertongue.endpoints.description import describe
from mothertongue.endpoints.settings import EndpointModel
from mothertongue.model_folders.contents import RECORD
from mothertongue.models import fetching, references
from mothertongue.models.record import read_record
from mothertongue.translation import engine_scores, engines
from mothertongue.translation.cli import add_engine_arguments, running_translator
from mothertongue.translation.engine_scores import Score
from mothertongue.translation.engines.base import LanguagePair
from mothertongue.translation.engines.fetch import fetch_model
from mothertongue.translation.messages import Translation, translate_messages
from mothertongue.translation.parallel_text import Parallel
from mothertongue.translation.routes import ENDPOINT, translation_pairs

_TOKEN = ",target_token="
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ComparedEngine:
    """An engine to compare; `model` is a model reference (empty: the engine's default for the pair)."""

    engine: str
    model: str = ""
    target_token: str = ""


@dataclass(frozen=True)
class Setup:
    """The shared setup of all engines: folders of tables and models, and options of scripts/translate.py by name.

    `endpoint` are the arguments of scripts/translate.py about an endpoint.
    """

    tables: Tables
    models: Path
    allow_noncommercial: bool
    options: Mapping[str, Any]
    endpoint: Sequence[str] = ()


@dataclass(frozen=True)
class Measurement:
    """The translations of one engine with their time and memory (see Row)."""

    translations: list[Translation]
    load_seconds: float
    seconds: float
    memory_bytes: int | None
    device_memory_bytes: int | None


@dataclass(frozen=True)
class Row:
    """One engine's row in the comparison; `problem` is the reason where it has no figures.

    BLEU and chrF are 0 to 100, with half of their 95% intervals, and p-values of the difference to the first engine
    that ran (None for itself). `translations` has a line for each line of the text, empty where it failed.
    `load_seconds` are from the start of its process to its first translated line. `memory_bytes` is the sum of its
    processes' peaks; `device_memory_bytes` the increase in memory in use on all CUDA devices from start to end (None
    without a device). `statuses` counts the lines by status.
    """

    engine: str
    model: str
    problem: str | None = None
    licence: str | None = None
    bleu: float | None = None
    bleu_interval: float | None = None
    bleu_p: float | None = None
    chrf: float | None = None
    chrf_interval: float | None = None
    chrf_p: float | None = None
    words_per_second: float | None = None
    load_seconds: float | None = None
    seconds: float | None = None
    memory_bytes: int | None = None
    device_memory_bytes: int | None = None
    statuses: Mapping[str, int] | None = None
    translations: Sequence[str] = field(default=(), repr=False)


def parse_candidate(text: str) -> ComparedEngine:
    """Parse NAME, NAME=MODEL or NAME=MODEL,target_token=TOKEN.

    Raise UserError where the engine is unknown or the model reference is empty.
    """
    engine, given, model = text.partition("=")
    engines.find(engine)
    model, _, token = model.partition(_TOKEN)
    if given and not model:
        raise UserError(f"'{text}': a model reference is expected after {engine}=")
    return ComparedEngine(engine, model, token)


def compare(candidate: ComparedEngine, text: Parallel, setup: Setup) -> Row:
    """Return one engine's row: fetch its model where it is missing, translate the text and measure."""
    row = Row(candidate.engine, candidate.model or "-")
    try:
        pair = _find_pair(candidate, text, setup.tables)
        row = replace(row, model=pair.model)
        if candidate.engine == ENDPOINT:
            licence, folder = None, _describe(candidate, setup.models)
        else:
            licence = _check_licence(pair, setup)
            folder = _fetch(candidate.engine, pair.model, setup.models)
        log(f"compare: {candidate.engine} with {pair.model}")
        measured = in_own_process(_measure, _options(candidate, pair, folder, setup), text, time.monotonic())
    except UserError as error:
        return replace(row, problem=" ".join(str(error).split()))
    return _figures(replace(row, licence=licence), measured, text)


def scored(rows: Sequence[Row], text: Parallel) -> list[Row]:
    """Return the rows with BLEU and chrF, all on the same lines, where an engine ran."""
    ran = [row for row in rows if not row.problem]
    found = iter(engine_scores.scores([row.translations for row in ran], text.references, text.target))
    return [row if row.problem else _with_scores(row, next(found)) for row in rows]


def _with_scores(row: Row, found: Mapping[str, Score]) -> Row:
    bleu, chrf = found["bleu"], found["chrf"]
    return replace(
        row, bleu=bleu.value, bleu_interval=bleu.interval, bleu_p=bleu.p_value, chrf=chrf.value,
        chrf_interval=chrf.interval, chrf_p=chrf.p_value,
    )  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return the comparison as aligned columns, one line per engine, in the given order."""
    heads = ["engine", "model", "BLEU", "chrF", "than the first", "words/s", "load s", "memory MB", "flagged", "failed"]
    heads.append("licence")
    on_device = any(found.device_memory_bytes is not None for found in rows)
    if on_device:
        heads.insert(8, "device MB")
    first = next((found for found in rows if not found.problem), None)
    lines = [_cells(found, first, on_device) for found in rows]
    return "\n".join(aligned([heads, *lines], left={0, 1, len(heads) - 1}))


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a function called in a new process. Raise UserError with the reason where it fails."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        result, problem = receiver.recv()
    except EOFError:
        process.join()
        raise UserError(f"its process died ({_ending(process.exitcode)})") from None
    except BaseException:
        process.kill()
        raise
    process.join()
    if problem:
        raise UserError(problem)
    return result


def _find_pair(candidate: ComparedEngine, text: Parallel, tables: Tables) -> LanguagePair:
    """Return the candidate's model and language codes. Raise UserError where it has no model for the pair."""
    multilingual = engines.find(candidate.engine).MODEL is not None
    given = {"model": candidate.model} | ({"target_token": token} if (token := candidate.target_token) else {})
    settings = {
        "engine": candidate.engine,
        "model": (candidate.model or None) if multilingual else None,
        "models": {f"{text.source}-{text.target}": given} if candidate.model else {},
    }
    pair = translation_pairs(settings, tables).get((text.source, text.target))
    if pair is None:
        raise UserError(f"no model for {text.source} to {text.target}; name one as {candidate.engine}=MODEL")
    return pair


def _check_licence(pair: LanguagePair, setup: Setup) -> str | None:
    """Return the licence of a pair's model. Raise UserError where it is non-commercial and that is not allowed."""
    licence: str | None = pair.licence
    if not is_noncommercial(licence):
        reference = references.parse(pair.model)
        folder = setup.models / reference.slug
        fetched = (folder / RECORD).is_file()
        licence = (read_record(folder)["licence"] if fetched else fetching.licence(reference)) or licence or None
    if is_noncommercial(licence) and not setup.allow_noncommercial:
        raise UserError(f"its licence ({licence}) forbids commercial use; --allow-noncommercial compares it")
    return licence


def _fetch(engine: str, model: str, models: Path) -> Path:
    """Return the model's folder, shared with the workflow; fetch it where it is missing or its local files are newer.

    Raise UserError where the model cannot be fetched, or the folder holds another model.
    """
    reference = references.parse(model)
    folder = models / reference.slug
    record = folder / RECORD
    if not record.is_file() or _newest(reference) > record.stat().st_mtime:
        in_own_process(_fetch_into, engine, reference, folder)
    if (found := read_record(folder)["reference"]) != reference.name:
        raise UserError(f"{folder} holds another model, {found}; choose another folder with --models")
    return folder


def _describe(candidate: ComparedEngine, models: Path) -> Path:
    """Return the folder with the record of an endpoint's model. Raise UserError where the candidate names none."""
    if not candidate.model:
        raise UserError("what the server calls the model is missing: endpoint=MODEL")
    folder = models.parent / "endpoints" / "compared"
    describe(EndpointModel(candidate.model), folder)
    return folder


def _newest(reference: references.Reference) -> float:
    """Return the newest modification time of a local model; 0 for others, which their references identify."""
    if reference.kind != "folder":
        return 0.0
    files = [path for path in references.locate(reference).iterdir() if path.is_file()]
    return max((path.stat().st_mtime for path in files), default=0.0)


def _fetch_into(engine: str, reference: references.Reference, folder: Path) -> None:
    with atomic_folder(folder) as partial:
        fetch_model(engine, reference, partial)


def _options(candidate: ComparedEngine, pair: LanguagePair, folder: Path, setup: Setup) -> argparse.Namespace:
    """Return the arguments of scripts/translate.py, with the defaults of the quality checks."""
    values = {"--engine": candidate.engine, "--model": folder, "--output": os.devnull} | dict(setup.options)
    values |= {"--source-code": pair.source_code, "--target-code": pair.target_code}
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    return parser.parse_args([*(f"{option}={value}" for option, value in values.items()), *setup.endpoint])


def _figures(row: Row, measured: Measurement, text: Parallel) -> Row:
    """Return the row with its figures; a failed line counts as an empty translation."""
    return replace(
        row,
        translations=[" ".join((found.text or "").splitlines()) for found in measured.translations],
        words_per_second=round(text.words / measured.seconds, 1),
        load_seconds=round(measured.load_seconds, 2),
        seconds=round(measured.seconds, 3),
        memory_bytes=measured.memory_bytes,
        device_memory_bytes=measured.device_memory_bytes,
        statuses=dict(Counter(found.status for found in measured.translations)),
    )


def _measure(options: argparse.Namespace, text: Parallel, started: float) -> Measurement:
    """Translate as the workflow does, in a process of its own that began at `started`."""
    before = hardware.device_memory(options.device)
    with running_translator(options, text.source, text.target) as translator:
        # Some engines load lazily, at first use.
        shortest = min((line for line in text.texts if line.strip()), key=len)
        with contextlib.redirect_stderr(io.StringIO()):
            list(translator.strategies[0].translate([shortest]))
        loaded = time.monotonic()
        translations = translate_messages(text.texts, translator)
        done = time.monotonic()
        memory, after = hardware.peak_memory(), hardware.device_memory(options.device)
    device = after - before if before is not None and after is not None else None
    return Measurement(translations, loaded - started, done - loaded, memory, device)


def _answer(sender: Any, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """Send a function's result and None, or None and the error message."""
    # Ctrl-C also reaches the parent, which kills this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard_streams()
    answer: tuple[Any, str | None]
    try:
        answer = function(*arguments), None
    except UserError as error:
        answer = None, str(error)
    except Exception as error:
        # Continue with the other engines; the traceback helps to fix this one.
        traceback.print_exc()
        answer = None, f"{type(error).__name__}: {error}"
    sender.send(answer)


def _ending(code: int | None) -> str:
    return f"signal {-code}; it may have run out of memory" if code and code < 0 else f"exit code {code}"


def _cells(found: Row, first: Row | None, on_device: bool) -> list[str]:
    if found.problem or first is None:
        return [found.engine, found.model, found.problem or ""]
    statuses = found.statuses or {}
    memory = [found.memory_bytes, *([found.device_memory_bytes] if on_device else [])]
    return [
        found.engine,
        found.model,
        f"{found.bleu:.1f} ±{found.bleu_interval:.1f}",
        f"{found.chrf:.1f} ±{found.chrf_interval:.1f}",
        "" if found.chrf_p is None else f"chrF {(found.chrf or 0) - (first.chrf or 0):+.1f}, p {found.chrf_p:.3f}",
        f"{found.words_per_second:,.0f}",
        f"{found.load_seconds:.1f}",
        *("" if size is None else f"{size / _MEGABYTE:,.0f}" for size in memory),
        *(str(statuses.get(status, 0)) for status in ("flagged", "failed")),
        (found.licence or "unknown") + (" (non-commercial)" if is_noncommercial(found.licence) else ""),
    ]
