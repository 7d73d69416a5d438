"""Find the threshold of `quality.meaning` for a pair of languages, on your own parallel text.

scripts/calibrate_quality.py --source dev.en --reference dev.pt

Errors are planted in the translations of the reference: another sentence, half of it lost, a number changed, a negation
dropped, the source itself. The table tells how well the estimator sees each, and the line below it which
`quality.meaning_threshold` flags the wanted share of right translations.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from mothertongue.common import hardware
from mothertongue.common.arguments import positive, share
from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import UserError, run
from mothertongue.common.text_table import aligned
from mothertongue.translation import calibration, estimators
from mothertongue.translation.parallel_text import read_parallel


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="text, a sentence a line, such as dev.en")
    parser.add_argument("--reference", type=Path, required=True, help="its translation, line by line, such as dev.pt")
    parser.add_argument("--from", dest="source_lang", help="language code of --source (default: the file's suffix)")
    parser.add_argument("--to", dest="target_lang", help="language code of --reference (default: the file's suffix)")
    parser.add_argument("--limit", type=positive, help="calibrate on the first so many lines only")
    parser.add_argument("--meaning", choices=estimators.NAMES, default="use", help="the estimator (default: use)")
    parser.add_argument(
        "--meaning-model", type=Path, help="folder of labse's model, which scripts/fetch_estimator.py wrote"
    )
    parser.add_argument(
        "--false-alarms",
        type=share,
        default=0.01,
        help="share of right translations that the threshold may flag (default: %(default)s)",
    )
    parser.add_argument("--workers", type=positive, default=hardware.cores(), help="threads (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    estimator = estimators.find(arguments.meaning)
    codes = (arguments.source_lang, arguments.target_lang)
    text = read_parallel(arguments.source, arguments.reference, codes, estimator.LANGUAGES, arguments.limit)
    pairs = [pair for pair in zip(text.texts, text.references, strict=True) if all(part.strip() for part in pair)]
    if len(pairs) < 2:
        raise UserError(f"{arguments.source}: two lines with their translations are needed at least")
    sources, translations = zip(*pairs, strict=True)
    scores = estimator(arguments.workers, arguments.meaning_model).scores
    right = scores(pairs)
    least = round(calibration.threshold(right, arguments.false_alarms), 3)
    wrong = calibration.planted(sources, translations, text.target)
    rows = [calibration.caught(error, right, scores(some), least) for error, some in wrong.items()]
    table = [("error", "pairs", "AUC", "caught")]
    table += [(row.error, f"{row.pairs:,}", f"{row.auc:.3f}", f"{row.share:.0%}") for row in rows]
    print("\n".join(aligned(table, left={0})))
    flagged = sum(score < least for score in right) / len(right)
    print(f"quality.meaning_threshold: {least:g} flags {flagged:.1%} of {len(right):,} right translations")
    if arguments.json:
        content = {"from": text.source, "to": text.target, "meaning": arguments.meaning, "threshold": least}
        write_json(arguments.json, content | {"flagged": flagged, "errors": [asdict(row) for row in rows]})


if __name__ == "__main__":
    run(main)
