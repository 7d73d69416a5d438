"""Write pairs of replies of one split that people ranked, the better and the worse, accounting for every message."""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import write_json, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.dataset import contamination, trees
from mothertongue.dataset.preferences import as_rows, find_pairs
from mothertongue.dataset.settings import PreferenceSettings
from mothertongue.formats.messages import TRANSLATED, read


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="split that scripts/combine.py wrote (.parquet)")
    add_arguments(parser, PreferenceSettings)
    parser.add_argument("--system-prompt", default="", help="put before every prompt; empty for none (default)")
    contamination.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON Lines file to write")
    parser.add_argument(
        "--accounting", type=Path, required=True, help="JSON file to write: questions and replies by outcome"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    preferences = find_pairs(trees.from_table(read(arguments.dataset, TRANSLATED)), arguments.pairs)
    messages = (one for pair in preferences.pairs for one in (*pair.prompt, pair.chosen, pair.rejected))
    held = contamination.questions(arguments).held_by(messages)
    preferences = preferences.without(held, "contaminated")
    write_jsonl(arguments.output, as_rows(preferences.pairs, arguments.system_prompt))
    write_json(
        arguments.accounting,
        {"pairs": len(preferences.pairs), "questions": preferences.questions, "replies": preferences.replies}
        | ({"contaminated": held} if held else {}),
    )
    log(
        f"preferences: {len(preferences.pairs):,} pairs from {preferences.questions.get('in a pair', 0):,} of "
        f"{sum(preferences.questions.values()):,} questions -> {arguments.output}"
    )


if __name__ == "__main__":
    run(main)
