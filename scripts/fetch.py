"""Fetch the source dataset: every message of all its splits, in one validated Parquet file.

scripts/fetch.py --dataset OpenAssistant/oasst1 --revision main --output messages.parquet
scripts/fetch.py --dataset messages.jsonl --validation 0.05 --output messages.parquet
scripts/fetch.py --dataset train=a.jsonl.gz validation=b.jsonl.gz --output messages.parquet
scripts/fetch.py --inspect chats.jsonl
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file, scratch_beside, sha256, write_json
from mothertongue.common.errors import UserError, run
from mothertongue.common.languages import codes_by_name, read_languages
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments, from_arguments
from mothertongue.source import dataset_reference, hub_dataset, inspection
from mothertongue.source.languages import Languages
from mothertongue.source.reading import Dataset, new_limits, read_splits
from mothertongue.source.seen_conversations import SeenConversations
from mothertongue.source.settings import FetchSettings, FormatSettings, LimitSettings
from mothertongue.source.splits import combine_splits


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset",
        nargs="+",
        action="extend",
        default=[],
        help="a dataset on the hub (owner/name), or local files: one file or folder, or train=FILE validation=FILE",
    )
    parser.add_argument(
        "--inspect",
        type=Path,
        metavar="FILE",
        help="print what a file holds, three rows as conversations, and the configuration to paste; write nothing",
    )
    parser.add_argument("--name", default="", help="the source's name, where there are several: of messages and of ids")
    parser.add_argument("--revision", help="commit, tag or branch of a dataset on the hub (default: the newest)")
    parser.add_argument("--configuration", help="which of its configurations, where a dataset on the hub has several")
    parser.add_argument(
        "--split",
        nargs="+",
        action="extend",
        default=[],
        help="which of its splits: train=NAME, or train=NAME validation=NAME (default: train, and validation if there)",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        action="extend",
        default=[],
        metavar="WHAT=COLUMN",
        help="columns with names of their own: prompt=Vraag reply=Antwoord; without a column: not to be read",
    )
    parser.add_argument(
        "--languages",
        type=Path,
        default=Path(__file__).parent.parent / "config/languages.tsv",
        help="table of languages with their names (default: the workflow's)",
    )
    add_arguments(parser, FormatSettings, FetchSettings, LimitSettings)
    parser.add_argument("--record", type=Path, help="JSON file to write: files and revisions read, and the account")
    parser.add_argument("--output", type=Path, help="Parquet file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    dataset = Dataset(
        settings=from_arguments(FormatSettings, arguments),
        name=arguments.name,
        columns=dataset_reference.named(arguments.columns, "--columns"),
        languages=Languages(arguments.language, codes_by_name(read_languages(arguments.languages))),
        limits=new_limits(from_arguments(LimitSettings, arguments)),
    )
    if arguments.inspect:
        print(inspection.describe(arguments.inspect, dataset))
        return
    if not arguments.dataset or not arguments.output:
        raise UserError("--dataset and --output are needed, or --inspect")
    with scratch_beside(arguments.output) as folder:
        dataset.seen = SeenConversations(folder / "seen.sqlite")
        files, names = dataset_reference.local_files(arguments.dataset), dict[Path, str]()
        hub_folder, reference = folder / "hub", arguments.dataset[0]
        if not files:
            splits = dataset_reference.named(arguments.split, "--split")
            commit, found = hub_dataset.download(
                reference, arguments.revision, arguments.configuration, splits, hub_folder
            )
            files = {split: [hub_folder / file for file in paths] for split, paths in found.items()}
            here = f"hf://datasets/{reference}@{commit}/"
            names = {hub_folder / file: f"{here}{file}" for paths in found.values() for file in paths}
        with atomic_file(arguments.output) as partial, hub_dataset.named(reference, hub_folder):
            parts = read_splits(files, dataset)
            messages, trees = combine_splits(parts, dataset, arguments.validation, partial, folder)
        paths = [path for paths in files.values() for path in paths]
        resolved = {str(names.get(path, path)): f"sha256:{sha256(path)}" for path in paths}
    dataset.formats = {path.removeprefix(f"{hub_folder}/"): form for path, form in dataset.formats.items()}
    if arguments.record:
        write_json(arguments.record, {"dataset": arguments.dataset, "resolved": resolved, "reading": dataset.as_json()})
    for line in dataset.summary():
        log(f"fetch: {line}")
    log(f"fetch: {messages:,} messages in {trees:,} trees -> {arguments.output}")


if __name__ == "__main__":
    run(main, hub=True)
