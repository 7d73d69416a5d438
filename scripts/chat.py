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
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mothertongue.chat import prompt_file
from mothertongue.common import arguments as types
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import Progress, log

if TYPE_CHECKING:  # imported late: it loads torch
    from mothertongue.chat.conversation import Conversation


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
    parser.add_argument("--batch-size", type=types.positive, default=16, help="prompts answered at once (default: 16)")
    parser.add_argument("--output", type=Path, help="file to write a batch's answers to (default: to stdout)")
    arguments = parser.parse_args()
    if arguments.batch and arguments.prompt is not None:
        parser.error("a prompt and --batch are two ways to ask: give one")
    if arguments.output and not arguments.batch:
        parser.error("--output is where a batch's answers go: give --batch too")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    if arguments.prompt is not None and not arguments.prompt.strip():
        raise UserError("the prompt is empty")
    prompts = prompt_file.read(arguments.batch) if arguments.batch else []

    from mothertongue.chat.conversation import Conversation, Speaker
    from mothertongue.models.answering import Decoding

    decoding = Decoding(arguments.max_new_tokens, arguments.temperature, arguments.top_p)
    speaker = Speaker.load(
        arguments.adapter,
        arguments.base_model,
        arguments.base_only,
        arguments.quantization,
        arguments.system_prompt,
        decoding,
        arguments.seed,
    )
    if arguments.batch:
        asked = {prompt.line: prompt.messages for prompt in prompts if prompt.messages}
        progress = Progress("chat", len(asked), "answers")
        replies = speaker.answer_all(asked, arguments.batch_size, progress.advance)
        empty = prompt_file.Reply(None, error="an empty line")
        rows = [prompt.with_answer(replies.get(prompt.line, empty)) for prompt in prompts]
        prompt_file.write(rows, arguments.output)
        progress.finish()
    elif arguments.prompt is not None:
        Conversation(speaker).answer(arguments.prompt)
    else:
        converse(Conversation(speaker))


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
