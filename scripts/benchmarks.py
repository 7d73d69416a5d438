"""List the benchmarks of a language: tasks of the lm-evaluation-harness, with their sizes, licences and origins.

    scripts/benchmarks.py nl

Those with a star are measured with `evaluation.benchmarks: auto`; their English partners show what was kept. Nothing is
fetched. Licences are those of the datasets' cards when the table was made; fetched.json has them as they were fetched.
"""

import argparse
from pathlib import Path

from mothertongue.common.errors import UserError, run
from mothertongue.common.languages import find, read_languages
from mothertongue.common.text_table import aligned
from mothertongue.evaluation import benchmarks
from mothertongue.workflow.places import Places

# The user's own tables come first.
TABLES = Places(f"{Path(__file__).parent.parent}/").table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("language", help="code of a target language, such as nl")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    language = find(arguments.language, read_languages(TABLES("languages.tsv")))
    known = benchmarks.read(TABLES)
    chosen = benchmarks.chosen(known, language.code)
    found = benchmarks.of_language(known, language.code)
    if not found:
        raise UserError(f"the harness has no benchmark in {language.name} that is listed in config/benchmark_tasks.tsv")
    rows = [["", "task", "examples", "origin", "licence", "asks"]]
    for one in [*found, *(one for one in chosen if one not in found)]:
        size = f"{one.examples:,}" if one.examples else ""
        origin = benchmarks.ORIGINS[one.origin] if one in found else "English partner"
        rows.append(["*" if one in chosen else "", one.task, size, origin, one.licence, one.asks])
    print("\n".join(aligned(rows, left={0, 1, 3, 4, 5})))


if __name__ == "__main__":
    run(main)
