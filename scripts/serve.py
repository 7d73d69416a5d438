"""Serve an adapter: OpenAI's interface for chat, and a page to chat in, beside the base model if wished.

    scripts/serve.py --adapter results/nl/adapter

The page is at the address that is printed, and programs with OpenAI's interface take that address and /v1 as their base
URL. There are two models, `adapter` and `base`. On the page, both can answer side by side, without their names until
you vote; votes are appended to a file.

Answers are computed in this process by transformers, one after the other, or many at once by a server that is started
for it: by vLLM where its program and a GPU are here (--engine), or by llama.cpp from exported files:

    scripts/serve.py --adapter results/nl/adapter --engine llama_cpp \
        --gguf results/nl/export/base/q4_k_m.gguf --adapter-gguf results/nl/export/adapter.gguf

The server is reached from this machine alone. On a machine with other users set a key: --api-key-variable names the
environment variable that has it.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mothertongue.common import arguments as types
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import log
from mothertongue.endpoints.protocol import is_loopback
from mothertongue.serving import arguments as engine

if TYPE_CHECKING:  # imported late: it takes time
    from mothertongue.chat.backends import Backend


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--base-model", type=Path, help="folder of its base model (default: where tune found it)")
    parser.add_argument(
        "--quantization",
        choices=("nf4", "int8", "none"),
        default="none",
        help="load the base model in 4 bits (nf4) or 8 (int8): a quarter or half of the memory (default: none)",
    )
    told = ": auto takes vllm where its program and a GPU are here, else transformers"
    engine.add_arguments(parser, ("auto", "transformers", "vllm", "llama_cpp"), "auto", told)
    parser.add_argument(
        "--window",
        type=types.positive,
        default=8192,
        help="with vllm and llama_cpp: tokens of a conversation, at most the model's own (default: 8192)",
    )
    parser.add_argument(
        "--at-once",
        type=types.positive,
        help="with vllm and llama_cpp: requests answered at a time (default: 16, and 4 with llama_cpp)",
    )
    parser.add_argument("--port", type=types.natural, default=8321, help="0 takes one that is free (default: 8321)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--allow-remote", action="store_true", help="allow a --host by which other machines reach the server"
    )
    parser.add_argument(
        "--api-key-variable", metavar="NAME", help="environment variable with a key that requests must have"
    )
    parser.add_argument("--votes", type=Path, help="file to append votes to (default: votes.jsonl beside the adapter)")
    parser.add_argument("--system-prompt", help="of conversations without one (default: the training's; '' for none)")
    parser.add_argument(
        "--max-new-tokens",
        type=types.positive,
        default=1024,
        help="longest answer in tokens where a request does not say (default: 1024)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        help="where a request does not say: 0 takes the likeliest word, always (default)",
    )
    parser.add_argument("--top-p", type=float, default=1.0, help="where a request does not say (default: 1, all)")
    parser.add_argument("--seed", type=int, default=42, help="of requests without one (default: 42)")
    parser.add_argument(
        "--waiting", type=types.natural, default=8, help="requests that wait while others are answered (default: 8)"
    )
    parser.add_argument("--check", action="store_true", help="answer one question with each model, and end")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if not (arguments.allow_remote or is_loopback(arguments.host)):
        raise UserError(
            f"--host {arguments.host}: others on the network could chat, vote, and read along; add --allow-remote if"
            " that is meant, or reach this machine through ssh -L"
        )
    key = read_key(arguments.api_key_variable)

    engine.check(arguments)

    from mothertongue.chat import server, votes
    from mothertongue.chat.guard import Guard, own_names
    from mothertongue.model_folders.reading import read_training

    bound = server.listen(arguments.host, arguments.port)
    recorded = read_training(arguments.adapter, "lang", "system_prompt")
    if arguments.system_prompt is None:
        arguments.system_prompt = recorded["system_prompt"]
    kept = arguments.votes or arguments.adapter.absolute().parent / "votes.jsonl"
    backend, models = start(arguments, kept.with_suffix(".server.log"))
    if arguments.check:
        backend.check(models)
        return
    digest = votes.digest(arguments.adapter)
    served = server.Served(
        str(arguments.adapter), digest, recorded["lang"], arguments.system_prompt, kept, tuple(models)
    )
    names = own_names(arguments.host) if arguments.allow_remote else ()
    host, port = bound.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if not (key or is_loopback(host)):
        log("serve: warning: without --api-key-variable, everyone who reaches this address can chat and vote")
    bound.listen()  # whoever reads the next line may ask at once
    print(f"{address}/ is the page, {address}/v1 OpenAI's interface; Ctrl-C ends the server", flush=True)
    app = Guard(server.application(backend, served), key, arguments.allow_remote, names)
    server.server(app, backend).run(sockets=[bound])


def start(arguments: argparse.Namespace, output: Path) -> "tuple[Backend, Sequence[str]]":
    """Return what answers, and its models. `output` is the file for what a server prints that is started for it."""
    from mothertongue.formats.votes import SIDES
    from mothertongue.models.answering import Decoding
    from mothertongue.serving import own_server

    decoding = Decoding(arguments.max_new_tokens, arguments.temperature, arguments.top_p)
    chosen = own_server.choose(arguments.engine, arguments.adapter, arguments.program, arguments.quantization)
    if chosen != "transformers":
        plan = own_server.Plan(
            program=arguments.program,
            options=arguments.server_option,
            at_once=arguments.at_once or own_server.AT_ONCE[chosen],
            waiting=arguments.waiting,
            window=arguments.window,
            output=output,
            seed=arguments.seed,
        )
        speaks, ggufs = own_server.asking(arguments.system_prompt, decoding), (arguments.gguf, arguments.adapter_gguf)
        server = own_server.start(chosen, arguments.adapter, arguments.base_model, ggufs, speaks, plan)
        return server, own_server.models_of(arguments.adapter_gguf) if chosen == "llama_cpp" else SIDES

    from mothertongue.chat.backends import OneByOne
    from mothertongue.chat.conversation import Speaker
    from mothertongue.chat.loaded import Loaded

    speaker = Speaker.load(
        arguments.adapter,
        arguments.base_model,
        False,
        arguments.quantization,
        arguments.system_prompt,
        decoding,
        arguments.seed,
    )
    return OneByOne(Loaded(speaker), arguments.waiting, arguments.seed), SIDES


def read_key(variable: str | None) -> str:
    """Return the key in an environment variable; empty where none is asked for."""
    key = os.environ.pop(variable, "") if variable else ""
    if variable and not key.strip():
        raise UserError(f"--api-key-variable: the environment variable {variable} is not set, or empty")
    if not (key.strip().isascii() and key.strip().isprintable()):
        raise UserError(f"--api-key-variable: the key in {variable} has other than ASCII characters; set another")
    return key.strip()


if __name__ == "__main__":
    run(main)
