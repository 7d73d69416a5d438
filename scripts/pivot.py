"""Translate one shard of messages into English, the pivot from which every target language is reached."""

import argparse
from functools import partial
from pathlib import Path

from mothertongue.common.errors import run
from mothertongue.common.languages import ENGLISH
from mothertongue.formats.messages import MESSAGES, MessageFiles
from mothertongue.translation import shards
from mothertongue.translation.cli import add_engine_arguments, running_translator, write_translated


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", type=Path, required=True, help="shard to translate")
    parser.add_argument("--source", required=True, help="code of the shard's language, such as ca")
    parser.add_argument(
        "--route", choices=("direct", "multilingual"), default="direct", help="what the rows are marked with"
    )
    add_engine_arguments(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    shard = MessageFiles([arguments.shard], MESSAGES)
    with running_translator(arguments, arguments.source, ENGLISH) as translator:
        options = {"route": arguments.route, "only_users": arguments.only_users}
        translated = partial(shards.translate, lang=ENGLISH, translator=translator, **options)
        write_translated("pivot", shard, translated, arguments.output)


if __name__ == "__main__":
    run(main)
