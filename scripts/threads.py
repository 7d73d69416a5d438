"""Extract the best-ranked threads of one split as chat prompts, accounting for every tree and message."""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import write_json, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.dataset import contamination, trees
from mothertongue.dataset.settings import ThreadSettings
from mothertongue.dataset.thread_rows import as_rows
from mothertongue.formats.messages import TRANSLATED, read
from mothertongue.prompts.templates import UnmaskableTemplate, read_template


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
    table = read(arguments.dataset, TRANSLATED)
    template = read_template(arguments.template)
    if objection := template.objection():
        raise UnmaskableTemplate(objection)
    log(f"threads: chat template: {template.name}")
    selection = trees.select(trees.from_table(table), arguments.select)
    held = contamination.questions(arguments).held_by(message for thread in selection.threads for message in thread)
    selection = selection.without(held, "contaminated")
    lang = table["lang"][0].as_py() if len(table) else ""
    write_jsonl(arguments.output, as_rows(selection.threads, lang, arguments.system_prompt, template))
    write_json(
        arguments.accounting,
        {
            "threads": len(selection.threads),
            "trees": selection.trees,
            "messages": selection.messages,
            "trees_without_thread": selection.without_thread,
        }
        | ({"contaminated": held} if held else {}),
    )
    without = ", ".join(f"{count} {reason}" for reason, count in selection.trees.items() if reason != "thread")
    log(
        f"threads: {len(selection.threads):,} threads of {sum(selection.trees.values()):,} trees"
        f"{f' (none of: {without})' if without else ''} -> {arguments.output}"
    )


if __name__ == "__main__":
    run(main)
