"""Shared parts of the scripts that translate a shard: arguments, running engines, the final log line."""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pyarrow as pa

from mothertongue.common import gpus, settings
from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.endpoints import settings as endpoints
from mothertongue.endpoints.settings import EndpointSettings
from mothertongue.formats.messages import MessageFiles, MessageWriter
from mothertongue.models.record import identity
from mothertongue.translation import engines, estimators
from mothertongue.translation.attempts import Strategy
from mothertongue.translation.chat_engine import ANY, ReadsMessages
from mothertongue.translation.checks import Checks, Estimate
from mothertongue.translation.documents import Documents
from mothertongue.translation.engines.base import Engine, Output
from mothertongue.translation.estimators.base import Estimator
from mothertongue.translation.glossary import Glossary
from mothertongue.translation.glossary import read as read_glossary
from mothertongue.translation.memory import Memory, Remembered, fingerprint
from mothertongue.translation.messages import Translator
from mothertongue.translation.settings import EngineSettings, QualityLimits

# Messages that are translated at a time: their segments are sorted by length, and equal ones translated once.
_AT_ONCE = 20_000
# Bytes of the turns before a message, for a token of a chat model's window.
_EARLIER_BYTES = 0.25
# Words of a name: capitalised ones, with small ones between them.
_SMALL = "of|the|and|for|de|da|do|la|del|von|van|der"
_CAPITALISED = r"[^\W\d_a-z][\w.'’]*"
_NAME = re.compile(rf"{_CAPITALISED}(?:[ -](?:{_SMALL}|{_CAPITALISED}))*[ -]{_CAPITALISED}")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for engine, model, quality checks and output."""
    for prefix, role in (("", "translates"), ("fallback-", "translates what the first engine does badly")):
        group = parser.add_argument_group(f"the engine that {role}")
        group.add_argument(
            f"--{prefix}engine", choices=engines.NAMES, default=None if prefix else "opus-mt", help="its name"
        )
        group.add_argument(f"--{prefix}model", type=Path, help="folder that scripts/fetch_translation_model.py wrote")
        group.add_argument(
            f"--{prefix}source-code", default="", help="what the model calls the source language, where it must be told"
        )
        group.add_argument(
            f"--{prefix}target-code", default="", help="what it calls the target language, such as >>por<< or por_Latn"
        )
    parser.add_argument(
        "--other-code",
        action="append",
        type=_language_code,
        default=[],
        metavar="LANG=CODE",
        help="a third language and what the first model calls it: sentences in it are translated, not kept; repeatable",
    )
    parser.add_argument(
        "--only-users",
        action="store_true",
        help="leave the assistant's messages to a teacher, with status awaiting: see scripts/answer.py",
    )
    parser.add_argument(
        "--keep-better",
        action="store_true",
        help="both engines translate everything; the better translation of a sentence is kept",
    )
    group = parser.add_argument_group("how they run")
    settings.add_arguments(group, EngineSettings)
    gpus.add_argument(group)
    endpoints.add_arguments(parser)
    settings.add_arguments(parser.add_argument_group("quality checks"), QualityLimits)
    parser.add_argument(
        "--glossary",
        type=Path,
        help="table of terms with their translations (config/glossary/LANG.tsv; default: none)",
    )
    parser.add_argument(
        "--memory",
        type=Path,
        help="translation memory: a .parquet file for what this run translates; the others of its folder are read too "
        "(default: none)",
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")


def _language_code(text: str) -> tuple[str, str]:
    """Return the parts of LANG=CODE; the code may be empty, for a model that is not told the source language."""
    lang, equals, code = text.partition("=")
    if not lang or not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not LANG=CODE, such as de=deu_Latn")
    return lang, code


@contextmanager
def running_translator(arguments: argparse.Namespace, source: str, target: str) -> Iterator[Translator]:
    """Yield the translator that the arguments describe, with its engine loaded; load a fallback engine at first use.

    Raise UserError where arguments are missing or contradict each other.
    """
    if arguments.model is None:
        raise UserError("--model is missing")
    if bool(arguments.fallback_engine) != bool(arguments.fallback_model):
        raise UserError("--fallback-engine and --fallback-model go together: give both, or neither")
    if arguments.keep_better and not arguments.fallback_engine:
        raise UserError("--keep-better chooses between two engines: give --fallback-engine and --fallback-model too")
    if "{text}" not in arguments.prompt:
        raise UserError("--prompt: there is no {text} in it, where the model reads what it is to translate")
    gpus.claim(arguments.gpus)
    limits = settings.from_arguments(QualityLimits, arguments)

    def checks_from(lang: str) -> Checks:
        terms = read_glossary(arguments.glossary, lang, target) if arguments.glossary else None
        return Checks(lang, target, limits, _estimate(limits, lang, target, arguments), terms)

    checks = checks_from(source)
    documents = _documents(arguments)
    with ExitStack() as stack:
        engine = _load(arguments, "", documents, checks.glossary)
        stack.callback(engine.close)
        memory = Memory(arguments.memory) if arguments.memory else None
        if memory:
            stack.callback(memory.write)
        remembered = partial(_remembered, memory, arguments)
        model = identity(arguments.model)

        def translator(engine: Engine, checks: Checks, code: str) -> Translator:
            """Return the translator by the first engine alone from the checks' source, which its model calls `code`."""
            strategies = [replace(_strategy(engine, model), remembered=remembered("", code))]
            if engine.RETRIES:
                careful = partial(engine.translate, careful=True)
                fixes = None if engine.RETRIES == ANY else engine.RETRIES
                again = remembered("", code, careful=True)
                strategies.append(replace(strategies[0], translate=careful, fixes=fixes, remembered=again))
            if checks.estimate:
                strategies.append(Strategy(_copied, is_name, model, frozenset({"meaning"})))
            return Translator(strategies, checks, engine.limit, engine.measure, engine.reads)

        fallbacks = []
        if arguments.fallback_model:
            fallback = _fallback(arguments, stack, documents, checks.glossary)
            again = remembered("fallback_", arguments.fallback_source_code)
            fallbacks.append(replace(fallback, remembered=again))
        thirds = {
            lang: lambda third=third, lang=lang, code=code: translator(third, checks_from(lang), code)
            for lang, code in arguments.other_code
            if lang not in (source, target) and (third := engine.reading(code))
        }
        first = translator(engine, checks, arguments.source_code)
        yield replace(
            first,
            fallbacks=fallbacks,
            both=arguments.keep_better,
            thirds=thirds,
            lines=_reads_messages(arguments.engine),
            documents=documents,
        )


def _estimate(limits: QualityLimits, source: str, target: str, arguments: argparse.Namespace) -> Estimate | None:
    """Return the estimator of the settings, loaded; None where there is none, or where it lacks a language."""
    if limits.meaning is None:
        return None
    estimator = estimators.find(limits.meaning)
    if unknown := sorted({source, target} - estimator.LANGUAGES):
        log(f"translate: warning: quality.meaning: {limits.meaning} does not know {', '.join(unknown)}; not judged")
        return None
    threshold = estimator.THRESHOLD if limits.meaning_threshold is None else limits.meaning_threshold
    if threshold is None:
        raise UserError(estimators.no_threshold(limits.meaning))
    loaded = _estimator(limits.meaning, arguments.workers, limits.meaning_model, arguments.device)
    return Estimate(loaded.scores, threshold)


@cache
def _estimator(name: str, workers: int, model: str | None, device: str) -> Estimator:
    return estimators.find(name)(workers, Path(model) if model else None, device)


def write_translated(task: str, shard: MessageFiles, translated: Callable[[pa.Table], pa.Table], output: Path) -> None:
    """Write what `translated` makes of a shard, some thousand messages at a time; log the messages by status."""
    statuses: Counter[str] = Counter()
    done = 0
    with atomic_file(output) as partial_file, ExitStack() as stack:
        file = None
        for part in shard.batches(_AT_ONCE):
            if done:
                log(f"{task}: {done:,} of {len(shard):,} messages done")
            table = translated(part)
            file = file or stack.enter_context(MessageWriter(partial_file, table.schema))
            file.write(table)
            statuses.update(table["status"].to_pylist())
            done += len(table)
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    log(f"{task}: {done:,} messages ({counts or 'none'}) -> {output}")


def _reads_messages(engine: str | None) -> bool:
    """Return whether an engine reads whole messages."""
    return engine is not None and issubclass(engines.find(engine), ReadsMessages)


def _documents(arguments: argparse.Namespace) -> Documents | None:
    """Return what tells the engines of whole messages, where one of them reads these; else None."""
    reading = any(map(_reads_messages, (arguments.engine, arguments.fallback_engine)))
    return Documents(round(arguments.endpoint_window * _EARLIER_BYTES)) if reading else None


def _load(arguments: argparse.Namespace, prefix: str, documents: Documents | None, glossary: Glossary | None) -> Engine:
    """Load the engine whose arguments begin with `prefix`."""
    name = getattr(arguments, f"{prefix}engine")
    engine = engines.find(name)(getattr(arguments, f"{prefix}model"), _settings(arguments, prefix))
    if isinstance(engine, ReadsMessages) and documents:
        engine.read(documents, glossary)
    return engine


def _settings(arguments: argparse.Namespace, prefix: str) -> EngineSettings:
    codes = {name: getattr(arguments, f"{prefix}{name}") for name in ("source_code", "target_code")}
    endpoint = settings.from_arguments(EndpointSettings, arguments)
    given = settings.from_arguments(EngineSettings, arguments)
    return replace(given, **codes, endpoint=endpoint, answers=arguments.answers, usage=arguments.usage)


def _strategy(engine: Engine, model: str) -> Strategy:
    """Return the first strategy with an engine."""
    if isinstance(engine, ReadsMessages):
        return Strategy(engine.translate, _any, model, faults=engine.faults, reads_forms=True)
    return Strategy(engine.translate, _any, model)


def _remembered(
    memory: Memory | None, arguments: argparse.Namespace, prefix: str, source_code: str, careful: bool = False
) -> Remembered | None:
    """Return what the engine whose arguments begin with `prefix` gave before.

    None without a memory, and for an endpoint, whose answers have one of their own.
    """
    engine, model = (getattr(arguments, f"{prefix}{name}") for name in ("engine", "model"))
    if memory is None or _reads_messages(engine):
        return None
    return memory.of(
        fingerprint(engine, model, replace(_settings(arguments, prefix), source_code=source_code), careful)
    )


def _fallback(
    arguments: argparse.Namespace, stack: ExitStack, documents: Documents | None, glossary: Glossary | None
) -> Strategy:
    @cache
    def engine() -> Engine:
        loaded = _load(arguments, "fallback_", documents, glossary)
        stack.callback(loaded.close)
        return loaded

    def translate(texts: list[str]) -> Iterator[tuple[int, Output]]:
        return engine().translate(texts)

    def fits(text: str) -> bool:
        return engine().reads(text) and engine().measure(text) <= engine().limit

    model = identity(arguments.fallback_model)
    if _reads_messages(arguments.fallback_engine):
        return replace(_strategy(engine(), model), fits=fits)
    return Strategy(translate, fits, model)


def is_name(text: str) -> bool:
    """Return whether a segment is a name of several words: "University of Oxford"."""
    return _NAME.fullmatch(text) is not None


def _copied(texts: list[str]) -> Iterator[tuple[int, Output]]:
    """Yield the texts: a name that a model translates as another one is better left as it is."""
    return enumerate(map(Output, texts))


def _any(text: str) -> bool:
    """Return True: texts are split to the first engine's limit."""
    return True
