"""Write pairs of replies of one split, the better and the worse, accounting for every message.

The better one is that which people ranked higher, or, with --translated, a teacher's answer beside the translation of
the reply that it replaces.
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import scratch_beside, write_json, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.dataset import contamination, preferences
from mothertongue.dataset.settings import PreferenceSettings
from mothertongue.dataset.tree_files import trees_of
from mothertongue.formats.messages import TRANSLATED, MessageFiles


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="split that scripts/combine.py wrote (.parquet)")
    add_arguments(parser, PreferenceSettings)
    parser.add_argument(
        "--translated",
        type=Path,
        nargs="*",
        default=[],
        help="shards that scripts/translate.py wrote: a teacher's answers are preferred to the translations in them",
    )
    parser.add_argument("--system-prompt", default="", help="put before every prompt; empty for none (default)")
    contamination.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON Lines file to write")
    parser.add_argument(
        "--accounting", type=Path, required=True, help="JSON file to write: questions and replies by outcome"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    questions = contamination.questions(arguments)
    total, held = preferences.Preferences(), dict[str, str]()
    with scratch_beside(arguments.output) as folder:
        members = trees_of(arguments.dataset, TRANSLATED, folder)
        if arguments.translated:
            members = preferences.beside(
                members, preferences.translated_replies(MessageFiles(arguments.translated, TRANSLATED))
            )
        found = questions.checked(preferences.preferences(members, arguments.pairs), total, held)
        pairs = (pair for one in found for pair in one.pairs)
        write_jsonl(arguments.output, preferences.as_rows(pairs, arguments.system_prompt))
    write_json(
        arguments.accounting,
        {
            "pairs": total.counted,
            "questions": dict(sorted(total.questions.items())),
            "replies": dict(sorted(total.replies.items())),
        }
        | ({"contaminated": held} if held else {}),
    )
    log(
        f"preferences: {total.counted:,} pairs from {total.questions['in a pair']:,} of "
        f"{total.questions.total():,} questions -> {arguments.output}"
    )


if __name__ == "__main__":
    run(main)
