"""Extract the best-ranked threads of one split as chat prompts, accounting for every tree and message."""

import argparse
from pathlib import Path

import pyarrow as pa

from mothertongue.common.atomic_files import scratch_beside, write_json, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.dataset import contamination, trees
from mothertongue.dataset.settings import ThreadSettings
from mothertongue.dataset.thread_rows import as_rows
from mothertongue.dataset.tree_files import trees_of
from mothertongue.formats.messages import TRANSLATED, parts
from mothertongue.prompts.templates import UnmaskableTemplate, read_template

_LANG = pa.schema([TRANSLATED.field("lang")])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="split that scripts/combine.py wrote (.parquet)")
    add_arguments(parser, ThreadSettings)
    parser.add_argument("--system-prompt", default="", help="put before every thread; empty for none (default)")
    parser.add_argument(
        "--template",
        type=Path,
        required=True,
        help="chat template that `text` is rendered in: a .jinja file, or the folder of a model that has one",
    )
    contamination.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON Lines file to write")
    parser.add_argument(
        "--accounting", type=Path, required=True, help="JSON file to write: trees and messages by outcome"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    template = read_template(arguments.template)
    if objection := template.objection():
        raise UnmaskableTemplate(objection)
    log(f"threads: chat template: {template.name}")
    questions = contamination.questions(arguments)
    total, held = trees.Selection(), dict[str, str]()
    tags = (part["lang"][0].as_py() for part in parts(arguments.dataset, _LANG) if len(part))
    with scratch_beside(arguments.output) as folder:
        members = trees_of(arguments.dataset, TRANSLATED, folder)
        found = questions.checked(trees.selections(members, arguments.select), total, held)
        threads = (thread for selection in found for thread in selection.threads)
        write_jsonl(arguments.output, as_rows(threads, next(tags, ""), arguments.system_prompt, template))
    contaminated = dict.fromkeys(sorted(held), contamination.CONTAMINATED)
    write_json(
        arguments.accounting,
        {
            "threads": total.counted,
            "trees": dict(sorted(total.trees.items())),
            "messages": dict(sorted(total.messages.items())),
            "trees_without_thread": total.without_thread | contaminated,
        }
        | ({"contaminated": held} if held else {}),
    )
    without = ", ".join(f"{count} {reason}" for reason, count in sorted(total.trees.items()) if reason != "thread")
    log(
        f"threads: {total.counted:,} threads of {total.trees.total():,} trees"
        f"{f' (none of: {without})' if without else ''} -> {arguments.output}"
    )


if __name__ == "__main__":
    run(main)
