"""Print how each source language reaches a target language: route, models, target tokens, share of the messages.

    scripts/routes.py nl
    scripts/routes.py nl --engine nllb
    scripts/routes.py nl --configfile mine.yaml --counts results/source/counts.json

No network is needed: the tables of config/ list the models.
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import read_json
from mothertongue.common.errors import run
from mothertongue.common.languages import find, read_languages
from mothertongue.common.tsv import read_table
from mothertongue.translation import route_table, routes
from mothertongue.workflow import configuration
from mothertongue.workflow.places import Places
from mothertongue.workflow.settings import defaults, schema

# The user's own files come first.
PLACES = Places(f"{Path(__file__).parent.parent}/")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="code of the target language, such as nl")
    parser.add_argument("--engine", help="translation engine (default: the configuration's)")
    parser.add_argument("--configfile", type=Path, help="YAML file laid over config/config.yaml, as for snakemake")
    parser.add_argument(
        "--counts",
        type=Path,
        help="counts.json that scripts/split.py wrote, for the shares of the messages (default: OASST1's)",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    config = configuration.lay_over(defaults(), configuration.read(Path(PLACES.found("config/config.yaml"))))
    if arguments.configfile:
        config = configuration.lay_over(config, configuration.read(arguments.configfile))
    if arguments.engine:
        config["translation"]["engine"] = arguments.engine
    configuration.check(config, schema())
    languages = read_languages(PLACES.table("languages.tsv"))
    find(arguments.target, languages)
    routes.check_languages(config, languages)
    if arguments.counts:
        messages = route_table.messages_by_language(read_json(arguments.counts))
    else:
        messages = {row["language"]: int(row["messages"]) for row in read_table(PLACES.table("oasst1_messages.tsv"))}
    for settings in routes.engine_settings(config["translation"]):
        pairs = routes.translation_pairs(settings, PLACES.table)
        sources = config["source"]["languages"]
        print(route_table.table(settings["engine"], arguments.target, sources, pairs, messages))


if __name__ == "__main__":
    run(main)
