"""Show a finished build in the terminal.

Print messages by status, objections, two translations with their sources, the evaluation, and how to chat.
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import read_json, read_jsonl
from mothertongue.common.errors import UserError, run
from mothertongue.evaluation import judged
from mothertongue.formats.messages import TRANSLATED, parts
from mothertongue.report import terminal


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a target language's folder, such as results/demo/pt")
    return parser.parse_args()


def main() -> None:
    folder = parse_arguments().folder
    wanted = [
        folder / "dataset" / "accounting.json",
        folder / "dataset" / "quality.json",
        folder / "evaluation" / "metrics.json",
        folder / "adapter" / "training.json",
    ]
    for path in wanted:
        if not path.is_file():
            raise UserError(f"{path}: no such file; build it first with snakemake")
    accounting, quality, metrics, training = (read_json(path) for path in wanted)
    tables = parts(folder / "dataset" / "validation.parquet", TRANSLATED)
    samples = read_jsonl(folder / "evaluation" / "samples.jsonl", prompt=str, side=str)
    found = judged.of_evaluation(folder / "evaluation")
    sections = [
        terminal.messages(accounting),
        terminal.quality(quality),
        terminal.before_and_after(row for table in tables for row in table.to_pylist()),
        terminal.training(training),
        terminal.evaluation(metrics),
        *([terminal.who_wins(found)] if found else []),
        terminal.answers(samples),
        terminal.next_steps(folder, samples),
    ]
    print("\n\n".join(sections))


if __name__ == "__main__":
    run(main)
