"""Translate one shard of messages into the target language, with a status for every message.

    scripts/translate.py --shard results/source/shards/en/0.parquet --source en --target nl --route direct \\
        --engine opus-mt --model results/models/translation/NAME --output en-0.parquet
"""

import argparse
from pathlib import Path

from mothertongue.common.errors import run
from mothertongue.common.languages import ENGLISH
from mothertongue.formats.messages import MESSAGES, TRANSLATED, read
from mothertongue.translation import shards
from mothertongue.translation.cli import add_engine_arguments, finish, running_translator


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shard", type=Path, required=True, help="shard to translate (for a pivot: in English)")
    parser.add_argument("--source", required=True, help="code of the shard's language, such as en")
    parser.add_argument("--target", required=True, help="code of the target language, such as nl")
    parser.add_argument(
        "--route",
        choices=("native", "script", "direct", "multilingual", "pivot", "none"),
        default="direct",
        help="native: the shard is in the target language already; script: it is in the language's other script; "
        "direct, multilingual: one model translates it; pivot: it was brought into English before; none: no model "
        "exists, every message is marked as failed (default: direct)",
    )
    add_engine_arguments(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    through_english = arguments.route == "pivot"
    shard = read(arguments.shard, TRANSLATED if through_english else MESSAGES)
    if arguments.route == "native":
        translated = shards.keep(shard, arguments.target)
    elif arguments.route == "script":
        translated = shards.convert(shard, arguments.source, arguments.target)
    elif arguments.route == "none":
        translated = shards.give_up(shard, arguments.target)
    else:
        source = ENGLISH if through_english else arguments.source
        with running_translator(arguments, source, arguments.target) as translator:
            if through_english:
                translated = shards.translate_pivot(shard, arguments.target, translator)
            else:
                translated = shards.translate(shard, arguments.target, translator, arguments.route)
    finish("translate", translated, arguments.output)


if __name__ == "__main__":
    run(main)
