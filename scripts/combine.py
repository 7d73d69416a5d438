"""Combine the translated shards of one target language into a dataset, accounting for every message.

Write train.parquet and validation.parquet, accounting.json, a dataset card (README.md), and the quality of the
translations by source language: quality.json and its plots in quality/. Corrections that people made in review sheets
replace translations; see scripts/review.py.
"""

import argparse
import functools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mothertongue.cards import teacher_licences
from mothertongue.cards.dataset import dataset_card
from mothertongue.common import licences
from mothertongue.common.atomic_files import atomic_file, read_json, write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import Progress, log
from mothertongue.common.settings import add_arguments
from mothertongue.dataset import combine, correction_files, corrections, quality_plots, quality_report
from mothertongue.dataset.settings import FlaggedSettings
from mothertongue.formats.messages import SPLITS, TRANSLATED, MessageFiles, MessageWriter
from mothertongue.models.record import identity, read_record
from mothertongue.translation import glossary


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shards", type=Path, nargs="+", required=True, help="shards that scripts/translate.py or answer.py wrote"
    )
    parser.add_argument("--counts", type=Path, required=True, help="JSON file of counts that scripts/split.py wrote")
    parser.add_argument("--target", required=True, help="code of the target language")
    parser.add_argument("--name", required=True, help="English name of the target language, for the card and plots")
    parser.add_argument(
        "--source", nargs="+", action="extend", required=True, help="names of the source datasets, for the card"
    )
    parser.add_argument(
        "--licence", nargs="+", action="extend", default=[], help="their licences, for the card (default: other)"
    )
    parser.add_argument(
        "--models", type=Path, nargs="*", default=[], help="fetched models that translated, for their licences"
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        nargs="*",
        default=[],
        help="folder or record of the model that answered, for its licence",
    )
    parser.add_argument(
        "--corrections", type=Path, nargs="*", default=[], help="review sheets of this language that people filled in"
    )
    parser.add_argument("--review-sample", type=int, default=200, help="size of the random sample (default: 200)")
    parser.add_argument("--review-seed", type=int, default=42, help="seed of the random sample (default: 42)")
    parser.add_argument("--glossary", type=Path, help="table of terms that the translations were made with")
    add_arguments(parser, FlaggedSettings)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the dataset to")
    return parser.parse_args()


def _terms(path: Path, target: str) -> Callable[[str], glossary.Glossary]:
    """Return a function that returns the terms of a source language."""
    return functools.cache(lambda source: glossary.read(path, source, target))


def _licences(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Return the licences of the models that translated or answered, by the name that the messages have."""
    translators = {identity(folder): read_record(folder)["licence"] for folder in arguments.models}
    return translators | teacher_licences.licences_of(arguments.teacher) | licences.TOOLS


def main() -> None:
    arguments = parse_arguments()
    shards, counts = MessageFiles(arguments.shards, TRANSLATED), read_json(arguments.counts)
    applied = corrections.apply(
        shards, arguments.target, correction_files.read(arguments.corrections, arguments.target)
    )
    drawn = arguments.review_sample, arguments.review_seed
    judged = corrections.account(shards, applied, *drawn) if arguments.corrections else None
    terms = _terms(arguments.glossary, arguments.target) if arguments.glossary else None
    progress, counted = Progress("combine", len(shards), "messages judged"), combine.Counted()
    with ExitStack() as stack:
        # Both files are closed before the first appears.
        partials = {split: stack.enter_context(atomic_file(arguments.output / f"{split}.parquet")) for split in SPLITS}
        columns = shards.columns()
        files = {split: stack.enter_context(MessageWriter(path, columns)) for split, path in partials.items()}
        tables = combine.written(map(applied.correct, shards), files, counted, arguments.on_flagged)
        quality = quality_report.report(tables, arguments.target, progress.advance, judged, terms)
        progress.finish()
        accounting = combine.account(counts, counted)
        card = dataset_card(
            arguments.target,
            arguments.name,
            list(zip(arguments.source, arguments.licence or ["other"] * len(arguments.source), strict=True)),
            accounting,
            dict(counted.models.most_common()),
            quality,
            _licences(arguments),
        )
    write_json(arguments.output / "accounting.json", accounting)
    write_json(arguments.output / "quality.json", quality)
    for plot in quality_plots.PLOTS:
        with atomic_file(arguments.output / "quality" / f"{plot}.svg") as partial:
            quality_plots.draw(plot, quality, arguments.name, partial)
    with atomic_file(arguments.output / "README.md") as partial:
        partial.write_text(card, encoding="utf-8")
    for one, why in applied.refused:
        log(f"combine: correction not applied: {one.where}, message {one.message_id}: {why}")
    total = accounting["total"]
    statuses = ", ".join(f"{count:,} {status}" for status, count in total["status"].items() if count)
    log(
        f"combine: {total['messages']:,} messages in = {statuses}, {total['excluded']:,} excluded; "
        f"{total['out']:,} out -> {arguments.output}"
    )


if __name__ == "__main__":
    run(main)
