"""Translate one shard of messages into English, from where every target language is reached."""

import argparse
from pathlib import Path

from mothertongue import shards
from mothertongue.errors import UserError, run
from mothertongue.messages import MESSAGES, read
from mothertongue.routes import ENGLISH
from mothertongue.shard_program import add_engine_arguments, finish, limits, running_engine


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", type=Path, required=True, help="shard to translate")
    add_engine_arguments(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    shard = read(arguments.shard, MESSAGES)
    if arguments.model is None:
        raise UserError("--model is missing")
    with running_engine(arguments) as (engine, model):
        translated = shards.translate(shard, ENGLISH, engine.translate, model, limits(arguments))
    finish("pivot", translated, arguments.output)


if __name__ == "__main__":
    run(main)
