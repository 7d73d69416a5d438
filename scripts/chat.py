"""Chat with an adapter: ask one question, hold a conversation, or answer a file of prompts.

    scripts/chat.py --adapter results/demo/pt/adapter "Como faço um bolo?"
    scripts/chat.py --adapter results/demo/pt/adapter
    scripts/chat.py --adapter results/demo/pt/adapter --batch prompts.txt --output answers.jsonl

In a conversation, /reset begins a new one and /quit (or the end of input) leaves. Messages that no longer fit the
model's context window are dropped, the oldest first.

A batch is a text file, one prompt per line, or a .jsonl file with `prompt` (a text) or `messages` (a list of role and
content, the last of them a user's) in each line. The output has one line of JSON per prompt, in the same order, with
all fields of the input line, `answer`, and `ended`: whether the model ended the answer, and not --max-new-tokens. For a
prompt that cannot be asked, and an empty line of a text file, the answer is null, and `error` has the reason.

A batch can be answered by a server that is started for it, many prompts at once: by vLLM on a GPU (--engine vllm), or
by llama.cpp from exported files (--engine llama_cpp):

    scripts/chat.py --adapter results/nl/adapter --batch prompts.txt --engine llama_cpp \
        --gguf results/nl/export/base/q4_k_m.gguf --adapter-gguf results/nl/export/adapter.gguf
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mothertongue.chat import prompt_file
from mothertongue.common import arguments as types
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import Progress, log
from mothertongue.serving import arguments as engine

if TYPE_CHECKING:  # imported late: it loads torch
    from mothertongue.chat.conversation import Conversation, Speaker
    from mothertongue.models.answering import Decoding


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt", nargs="?", help="question to answer; without one, a conversation begins")
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--base-model", type=Path, help="folder of its base model (default: where tune found it)")
    parser.add_argument("--base-only", action="store_true", help="answer as the base model does, to compare")
    parser.add_argument(
        "--quantization",
        choices=("nf4", "int8", "none"),
        default="none",
        help="load the base model in 4 bits (nf4) or 8 (int8): a quarter or half of the memory (default: none)",
    )
    parser.add_argument("--system-prompt", help="default: the one of the training; '' for none")
    parser.add_argument(
        "--max-new-tokens", type=types.positive, default=256, help="longest answer in tokens (default: 256)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        help="0 takes the likeliest word, always (default); higher draws among more, 0.7 or 1 being usual",
    )
    parser.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        help="draw only from the likeliest words that together hold this share of the probability (default: 1, all)",
    )
    parser.add_argument(
        "--seed", type=int, default=42, help="of what is drawn: the same seed, the same answers (default: 42)"
    )
    parser.add_argument("--batch", type=Path, help="file of prompts to answer, see above")
    parser.add_argument(
        "--batch-size",
        type=types.positive,
        help="prompts answered at once (default: 16; with vllm 256, with llama_cpp 4)",
    )
    parser.add_argument("--output", type=Path, help="file to write a batch's answers to (default: to stdout)")
    engine.add_arguments(parser, ("transformers", "vllm", "llama_cpp"), "transformers", " a batch")
    arguments = parser.parse_args()
    if arguments.batch and arguments.prompt is not None:
        parser.error("a prompt and --batch are two ways to ask: give one")
    if arguments.output and not arguments.batch:
        parser.error("--output is where a batch's answers go: give --batch too")
    if arguments.engine != "transformers" and not arguments.batch:
        parser.error(f"--engine {arguments.engine} answers a batch: give --batch too, or chat by scripts/serve.py")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    engine.check(arguments)
    if arguments.prompt is not None and not arguments.prompt.strip():
        raise UserError("the prompt is empty")
    prompts = prompt_file.read(arguments.batch) if arguments.batch else []

    from mothertongue.models.answering import Decoding

    decoding = Decoding(arguments.max_new_tokens, arguments.temperature, arguments.top_p)
    if arguments.batch:
        asked = {prompt.line: prompt.messages for prompt in prompts if prompt.messages}
        progress = Progress("chat", len(asked), "answers")
        answer = answer_here if arguments.engine == "transformers" else answer_by_server
        replies = answer(arguments, decoding, asked, progress)
        empty = prompt_file.Reply(None, error="an empty line")
        rows = [prompt.with_answer(replies.get(prompt.line, empty)) for prompt in prompts]
        prompt_file.write(rows, arguments.output)
        progress.finish()
        return

    from mothertongue.chat.conversation import Conversation

    conversation = Conversation(load(arguments, decoding))
    if arguments.prompt is not None:
        conversation.answer(arguments.prompt)
    else:
        converse(conversation)


def load(arguments: argparse.Namespace, decoding: "Decoding") -> "Speaker":
    """Load the adapter, or the base model alone."""
    from mothertongue.chat.conversation import Speaker

    return Speaker.load(
        arguments.adapter,
        arguments.base_model,
        arguments.base_only,
        arguments.quantization,
        arguments.system_prompt,
        decoding,
        arguments.seed,
    )


def answer_here(
    arguments: argparse.Namespace, decoding: "Decoding", asked: dict[int, list[dict[str, str]]], progress: Progress
) -> dict[int, prompt_file.Reply]:
    """Return the answers of the model, loaded in this process, by the lines of the prompts."""
    size = arguments.batch_size or 16
    return load(arguments, decoding).answer_all(asked, size, progress.advance)


def answer_by_server(
    arguments: argparse.Namespace, decoding: "Decoding", asked: dict[int, list[dict[str, str]]], progress: Progress
) -> dict[int, prompt_file.Reply]:
    """Return the answers of a server that is started for them, by the lines of the prompts."""
    if arguments.base_only and arguments.gguf and not arguments.adapter_gguf:
        raise UserError("--base-only needs --adapter-gguf, over the base model: a merged model is no base model")

    from mothertongue.chat import by_server
    from mothertongue.model_folders.reading import read_training
    from mothertongue.serving import own_server

    prompt = arguments.system_prompt
    if prompt is None:
        prompt = read_training(arguments.adapter, "system_prompt")["system_prompt"]
    asking = own_server.asking(prompt, decoding)(arguments.adapter, None)
    window = by_server.window_for(asked.values(), asking)
    server = engine.start(arguments, prompt, decoding, window, arguments.batch_size)
    return by_server.answer_all(server, "base" if arguments.base_only else "adapter", asked, progress.advance)


def converse(conversation: "Conversation") -> None:
    """Answer typed messages until /quit or the end of input."""
    log("Type a message; /reset begins a new conversation, /quit leaves.")
    while (line := read_line()) not in (None, "/quit"):
        if line == "/reset":
            conversation.reset()
            log("(a new conversation)")
        elif line:
            try:
                conversation.answer(line)
            except UserError as error:
                log(f"chat: {error}")


def read_line() -> str | None:
    """Return one line of input without surrounding white space; None at the end of input."""
    if sys.stdin.isatty():
        print("> ", end="", flush=True)
    line = sys.stdin.readline()
    return line.strip() if line else None


if __name__ == "__main__":
    run(main)
