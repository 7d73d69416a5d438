"""Translate one shard of messages into the target language, with a status for every message.

    scripts/translate.py --shard results/source/shards/en/0.parquet --source en --target nl --route direct \\
        --engine opus-mt --model results/models/translation/NAME --output en-0.parquet
"""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pyarrow as pa

from mothertongue.common.errors import run
from mothertongue.common.languages import ENGLISH
from mothertongue.formats.messages import MESSAGES, TRANSLATED, MessageFiles
from mothertongue.translation import shards
from mothertongue.translation.cli import add_engine_arguments, running_translator, write_translated
from mothertongue.translation.messages import Translator


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
    pivot = arguments.route == "pivot"
    shard = MessageFiles([arguments.shard], TRANSLATED if pivot else MESSAGES)
    source = ENGLISH if pivot else arguments.source
    with_model = arguments.route in ("direct", "multilingual", "pivot")
    with running_translator(arguments, source, arguments.target) if with_model else nullcontext() as translator:
        write_translated("translate", shard, step(arguments, translator), arguments.output)


def step(arguments: argparse.Namespace, translator: Translator | None) -> Callable[[pa.Table], pa.Table]:
    """Return the function that brings messages into the target language by the route; `translator` has the models."""
    route, target = arguments.route, arguments.target
    if route == "native":
        return partial(shards.keep, lang=target)
    if route == "script":
        return partial(shards.convert, source=arguments.source, target=target)
    if translator is None:
        return partial(shards.give_up, lang=target)
    if route == "pivot":
        return partial(shards.translate_pivot, lang=target, translator=translator)
    return partial(shards.translate, lang=target, translator=translator, route=route, only_users=arguments.only_users)


if __name__ == "__main__":
    run(main)
