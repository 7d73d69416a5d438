"""What computes answers, as arguments of a program: this process by transformers, or a server that it starts."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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


def check(arguments: argparse.Namespace) -> None:
    """Raise UserError where options are given that the engine does not follow."""
    if arguments.engine != "llama_cpp" and (arguments.gguf or arguments.adapter_gguf):
        raise UserError("--gguf and --adapter-gguf are llama.cpp's: add --engine llama_cpp")
    if arguments.engine == "transformers" and (arguments.program or arguments.server_option):
        raise UserError("--program and --server-option are those of another --engine")
    if arguments.engine in ("vllm", "llama_cpp") and arguments.quantization != "none":
        raise UserError(f"--quantization is for --engine transformers: {arguments.engine} serves the model as it is")


def start(
    arguments: argparse.Namespace, system_prompt: str, decoding: "Decoding", window: int, at_once: int | None
) -> "Forwarding":
    """Start the server of the engine for an adapter, to answer many conversations; return what asks it.

    See own_server.plan_for_many. Raise UserError where the server does not start.
    """
    from mothertongue.serving import own_server

    plan = own_server.plan_for_many(
        arguments.engine, arguments.program, arguments.server_option, window, arguments.seed, at_once
    )
    speaks, ggufs = own_server.asking(system_prompt, decoding), (arguments.gguf, arguments.adapter_gguf)
    return own_server.start(arguments.engine, arguments.adapter, arguments.base_model, ggufs, speaks, plan)
