"""Write the table of all adapters: one page for a browser, one row per evaluated adapter, with links to reports.

scripts/summary.py --metrics results/*/evaluation/metrics.json --results results --output results/summary.html
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import run
from mothertongue.common.languages import read_languages
from mothertongue.common.progress import log
from mothertongue.report import summary_page

HOME = Path(__file__).parent.parent


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", type=Path, nargs="*", default=[], help="metrics.json of each evaluation")
    parser.add_argument("--results", type=Path, required=True, help="folder that the languages' folders are in")
    parser.add_argument(
        "--languages",
        type=Path,
        default=HOME / "config/languages.tsv",
        help="the languages' names (default: the workflow's table)",
    )
    parser.add_argument(
        "--template",
        type=Path,
        default=HOME / "report/summary.html",
        help="template of the page (default: ours)",
    )
    parser.add_argument("--output", type=Path, required=True, help="HTML file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    rows = [summary_page.read(path, arguments.results) for path in arguments.metrics]
    page = summary_page.render(rows, read_languages(arguments.languages), arguments.template)
    with atomic_file(arguments.output) as partial:
        partial.write_text(page, encoding="utf-8")
    log(f"summary: {len(rows)} adapters -> {arguments.output}")


if __name__ == "__main__":
    run(main)
