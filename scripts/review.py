"""Write the review sheets of a language: translations for people to judge and correct.

A random sample of the translations, the flagged messages, and corrections whose translation has changed since; in the
same three forms: sample.xlsx, sample.csv and tasks for Label Studio (sample.json, labels.xml). Messages that the given
corrections have judged are left out. A sheet that is filled in is given to scripts/combine.py; one that is filled in
where it lies is not overwritten.
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.dataset import correction_files, correction_folder, corrections, review, review_sheets
from mothertongue.dataset.settings import ReviewSettings
from mothertongue.formats.messages import TRANSLATED, MessageFiles

SHEETS = {
    "sample.xlsx": review_sheets.write_xlsx,
    "sample.csv": review_sheets.write_csv,
    "sample.json": review_sheets.write_tasks,
    "labels.xml": review_sheets.write_labels,
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="shards that scripts/translate.py wrote")
    parser.add_argument("--target", required=True, help="code of the target language")
    parser.add_argument(
        "--corrections", type=Path, nargs="*", default=[], help="review sheets of this language that people filled in"
    )
    add_arguments(parser, ReviewSettings)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the sheets to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    lang = arguments.target
    shards = MessageFiles(arguments.shards, TRANSLATED)
    given = correction_files.read(arguments.corrections, lang)
    applied = corrections.apply(shards, lang, given)
    reviewed = {one.key for one in applied.in_force.values()}
    # A sheet that was filled in where it lies would be lost.
    paths = (arguments.output / name for name in SHEETS)
    sheets = [path for path in paths if path.suffix in correction_folder.SUFFIXES and path.is_file()]
    if place := next(correction_files.filled_in(sheets), None):
        raise UserError(f"{place} is filled in; move the file to config/corrections/{lang}/, or delete it")
    items = review.choose(
        shards, lang, arguments.sample, arguments.flagged, arguments.seed, reviewed, applied.changed()
    )
    for name, write in SHEETS.items():
        with atomic_file(arguments.output / name) as partial:
            write(items, lang, partial)
    counts = {why: sum(item.why == why for item in items) for why in (review.RANDOM, review.FLAGGED, review.CHANGED)}
    said = ", ".join(f"{count:,} {why}" for why, count in counts.items() if count) or "nothing"
    log(f"review: {said} to review, {len(reviewed):,} reviewed before -> {arguments.output}")


if __name__ == "__main__":
    run(main)
