"""What computes answers, as arguments of a program: this process by transformers, or a server that it starts."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mothertongue.common import arguments as types
from mothertongue.common.errors import UserError

if TYPE_CHECKING:  # imported late: it loads torch
    from mothertongue.models.answering import Decoding
    from mothertongue.serving.forwarding import Forwarding


def add_arguments(parser: argparse.ArgumentParser, engines: Sequence[str], default: str, told: str) -> None:
    """Add `--engine`, one of `engines`, which the help tells about, and the arguments of servers."""
    parser.add_argument("--engine", choices=engines, default=default, help=f"what computes{told} (default: {default})")
    parser.add_argument("--program", help="vLLM's program, such as /opt/vllm/bin/vllm, or llama.cpp's llama-server")
    parser.add_argument(
        "--server-option", action="append", default=[], metavar="OPTION", help="an option for that program; repeatable"
    )
    parser.add_argument("--gguf", type=Path, help="with llama_cpp: exported base model, or merged model")
    parser.add_argument("--adapter-gguf", type=Path, help="with llama_cpp: exported adapter, over the base model")
    parser.add_argument(
        "--window",
        type=types.positive,
        default=8192,
        help="with vllm and llama_cpp: tokens of a conversation, at most the model's own (default: 8192)",
    )


def check(arguments: argparse.Namespace) -> None:
    """Raise UserError where options are given that the engine does not follow."""
    if arguments.engine != "llama_cpp" and (arguments.gguf or arguments.adapter_gguf):
        raise UserError("--gguf and --adapter-gguf are llama.cpp's: add --engine llama_cpp")
    if arguments.engine == "transformers" and (arguments.program or arguments.server_option):
        raise UserError("--program and --server-option are those of another --engine")
    if arguments.engine in ("vllm", "llama_cpp") and arguments.quantization != "none":
        raise UserError(f"--quantization is for --engine transformers: {arguments.engine} serves the model as it is")


def start(
    engine: str, arguments: argparse.Namespace, system_prompt: str, decoding: "Decoding", at_once: int | None = None
) -> "Forwarding":
    """Start the server of an engine for an adapter, to answer many conversations; return what asks it.

    `at_once` of them are answered at a time, and as many wait. Raise UserError where the server does not start.
    """
    from mothertongue.serving import own_server

    most = at_once or own_server.MANY_AT_ONCE[engine]
    plan = own_server.Plan(
        arguments.program,
        arguments.server_option,
        most,
        most,
        arguments.window,
        None,
        arguments.seed,
        own_server.MANY_TOKENS,
    )
    speaks, ggufs = own_server.asking(system_prompt, decoding), (arguments.gguf, arguments.adapter_gguf)
    return own_server.start(engine, arguments.adapter, arguments.base_model, ggufs, speaks, plan)
