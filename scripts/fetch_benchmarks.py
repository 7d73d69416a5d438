"""Fetch the data of tasks of EleutherAI's lm-evaluation-harness from the hub, for scripts/harness.py.

The newest commit of each dataset is pinned in --lock at its first fetch; fetched.json in the folder has commits,
licences and tasks. Tasks of yours that read local files need none, and leave the folder without data.
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import atomic_folder
from mothertongue.common.errors import run
from mothertongue.models import hub, lockfile


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", action="extend", required=True, help="names of tasks, or YAML files")
    lockfile.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    hub.check_token()

    from mothertongue.evaluation import harness_tasks
    from mothertongue.evaluation.task_data import Fetch

    harness_tasks.check_installed()
    with atomic_folder(arguments.output) as folder:
        fetch = Fetch(folder, arguments.lock)
        _ = harness_tasks.find_tasks(arguments.tasks, fetch).loaded
        fetch.write_record(arguments.tasks, harness_tasks.version())


if __name__ == "__main__":
    run(main, hub=True)
