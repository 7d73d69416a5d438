"""Publish a dataset, its threads, preferences or an adapter on the hub, with a card: changed files, in one commit.

Only files that the workflow writes are uploaded, and only files that it uploaded are deleted.

scripts/publish.py dataset --folder results/nl/dataset --repo me/oasst1_nl --target nl --name Dutch
scripts/publish.py ... --dry-run     prints what would be uploaded, and the card, without token and network

The token is read from HF_TOKEN in the environment.
"""

import argparse
import tempfile
from pathlib import Path

from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import run
from mothertongue.publication import upload
from mothertongue.publication.contents import KINDS, PREPARE, Publishable


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=PREPARE, help="what is published")
    parser.add_argument("--folder", type=Path, required=True, help="folder of what is published")
    parser.add_argument("--repo", required=True, help="where it goes: owner/name")
    parser.add_argument("--target", required=True, help="code of the target language, for the card")
    parser.add_argument("--name", required=True, help="English name of the target language, for the card")
    parser.add_argument(
        "--dataset-repo", help="all but a dataset: the repository of the dataset that they were made from"
    )
    parser.add_argument(
        "--dataset-card", type=Path, help="all but a dataset: the dataset's README.md, whose licences hold for them too"
    )
    parser.add_argument("--evaluation", type=Path, help="folder of an adapter's evaluation, which goes with it")
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    parser.add_argument(
        "--made-from", default="", help="what stands for the data and models: a repository made from others is refused"
    )
    parser.add_argument(
        "--existing",
        action="store_true",
        help="publish in a repository that is there and was not made by this workflow, or from something else",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would go; ask neither token nor network")
    parser.add_argument("--output", type=Path, help="JSON file to write: repository, commit and checksums")
    arguments = parser.parse_args()
    if arguments.what != "dataset" and not (arguments.dataset_repo and arguments.dataset_card):
        parser.error(f"{arguments.what}: give --dataset-repo and --dataset-card, which its card and licence come from")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    token = "" if arguments.dry_run else upload.check_token()
    target = upload.Target(
        arguments.repo,
        KINDS[arguments.what],
        not arguments.public,
        upload.made_from(arguments.what, arguments.target, arguments.made_from),
        arguments.existing,
    )
    material = Publishable(
        arguments.folder,
        arguments.repo,
        arguments.target,
        arguments.name,
        arguments.dataset_repo or arguments.repo,
        arguments.dataset_card or arguments.folder / "README.md",
        arguments.evaluation,
    )
    with tempfile.TemporaryDirectory() as scratch:
        files = PREPARE[arguments.what](material, Path(scratch))
        files = upload.write_list(Path(scratch) / upload.LIST, target, files)
        print(upload.plan(target, files), flush=True)
        if arguments.dry_run:
            print(f"\nREADME.md:\n\n{files['README.md'].read_text(encoding='utf-8')}")
            return
        record = upload.push(target, files, token)
    if arguments.output:
        write_json(arguments.output, record)


if __name__ == "__main__":
    run(main, hub=True)
