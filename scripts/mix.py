"""Mix the threads to train on: shares by source or origin, and conversations in other languages to keep those.

Write the mixed threads, and an account of every group: what was asked, what it has, and how often it is repeated.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_json, write_json, write_jsonl
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.dataset import contamination, mix
from mothertongue.dataset.settings import MixSettings
from mothertongue.dataset.thread_rows import as_rows
from mothertongue.formats.messages import TRANSLATED, read
from mothertongue.formats.threads import read_threads


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=Path, required=True, help="threads that scripts/threads.py wrote")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset that they are of (.parquet)")
    parser.add_argument(
        "--threads-accounting", type=Path, help="their account: what it lists as contaminated is not replayed either"
    )
    parser.add_argument("--base-model", type=Path, required=True, help="model whose tokenizer counts")
    parser.add_argument("--template", type=Path, required=True, help="chat template (.jinja, or the model's folder)")
    parser.add_argument(
        "--share",
        nargs="+",
        action="extend",
        type=parse_share,
        default=[],
        metavar="GROUP=SHARE",
        help="share of the assistant's tokens of a source, or of native and translated threads (default: all, once)",
    )
    parser.add_argument("--replay", nargs="+", action="extend", default=[], metavar="LANG", help="languages to replay")
    parser.add_argument(
        "--replay-prompt", nargs="+", action="extend", default=[], help="system prompt of each of them, '' for none"
    )
    parser.add_argument("--replay-share", type=float, default=0.0, help="their share of all tokens")
    add_arguments(parser, MixSettings)
    contamination.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON Lines file to write")
    parser.add_argument("--accounting", type=Path, required=True, help="JSON file to write: the account of the groups")
    return parser.parse_args()


def parse_share(item: str) -> tuple[str, float]:
    """Return `mine=0.3` as a group and its share. Raise ArgumentTypeError for anything else."""
    name, _, share = item.rpartition("=")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if not name or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{item}' is not GROUP=SHARE with a share from 0 to 1")
    return name, value


def main() -> None:
    arguments = parse_arguments()
    if not 0 <= arguments.replay_share < 1:
        raise UserError(f"--replay-share {arguments.replay_share:g}: not from 0 to below 1")
    shares = dict(arguments.share)
    threads = read_threads(arguments.threads, named=True)
    dataset = read(arguments.dataset, TRANSLATED)
    names = mix.group_names(threads, dataset, shares)
    count, template = counter(arguments.base_model, arguments.template)

    counted = [mix.Counted(row, count(row)) for row in threads]
    groups = {
        group: mix.Group([one for one, name in zip(counted, names, strict=True) if name == group], share)
        for group, share in (shares or {mix.ALL: 1.0}).items()
    }
    account = read_json(arguments.threads_accounting) if arguments.threads_accounting else {}
    contaminated, questions = account.get("contaminated", {}), contamination.questions(arguments)
    replayed: list[mix.Counted] = []
    for lang, prompt in zip(arguments.replay, arguments.replay_prompt, strict=True):
        originals = mix.originals(dataset, lang, contaminated)
        rows = as_rows([thread for thread in originals if not questions.held_by(thread)], lang, prompt, template)
        rows = ({**row, "thread_id": f"{row['thread_id']}@{lang}"} for row in rows)
        replayed += [mix.Counted(row, count(row)) for row in rows]
    replay = mix.Group(replayed, arguments.replay_share) if arguments.replay else None
    for line in mix.draw(groups, arguments.repeat, arguments.seed, replay):
        log(f"mix: warning: {line}")

    everything = groups | ({mix.REPLAY: replay} if replay else {})
    tokens = sum(one.tokens for group in everything.values() for one in group.drawn)
    shares_of: dict[str, Any] = {name: group.as_json(tokens) for name, group in everything.items()}
    write_jsonl(arguments.output, (dict(row) for row in mix.rows_of(everything.values(), arguments.seed)))
    write_json(arguments.accounting, {"tokens": tokens, "groups": shares_of, "without_share": names.count(None)})
    said = ", ".join(f"{name} {one['share']:.1%} ({one['threads']:,} threads)" for name, one in shares_of.items())
    log(f"mix: {tokens:,} of the assistant's tokens: {said} -> {arguments.output}")


def counter(base_model: Path, path: Path) -> tuple[Callable[[mix.Row], int], Any]:
    """Return a function that counts the assistant's tokens of a thread, and the chat template.

    Threads in which a text would become a control token, and which training leaves out, have none.
    """
    from mothertongue.model_folders import contents, reading
    from mothertongue.models import tokenizer_files
    from mothertongue.prompts import templates
    from mothertongue.tuning import data

    contents.check_base(base_model)
    known = reading.embedding_rows(base_model)
    tokenizer = tokenizer_files.load(base_model, known)
    template = data.template_for(path, tokenizer, known)

    def count(row: mix.Row) -> int:
        try:
            return templates.encode(row["messages"], template, tokenizer).targets
        except templates.ControlText:
            return 0

    return count, template


if __name__ == "__main__":
    run(main)
