"""Chat with an adapter: one question and its answer, or a conversation.

    scripts/chat.py --adapter results/demo/pt/adapter "Como faço um bolo?"
    scripts/chat.py --adapter results/demo/pt/adapter

In a conversation, /reset begins a new one and /quit (or the end of input) leaves.
"""

import argparse
import sys
from pathlib import Path

from mothertongue.errors import UserError, run
from mothertongue.progress import say


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt", nargs="?", help="question to answer; without one, a conversation begins")
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--base-model", type=Path, help="folder of its base model (default: where tune found it)")
    parser.add_argument("--base-only", action="store_true", help="answer as the base model does, to compare")
    parser.add_argument("--system-prompt", help="default: the one of the training; '' for none")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer in tokens (default: 256)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.prompt is not None and not arguments.prompt.strip():
        raise UserError("the prompt is empty")

    from mothertongue.conversation import Conversation

    conversation = Conversation.load(
        arguments.adapter, arguments.base_model, arguments.base_only, arguments.system_prompt, arguments.max_new_tokens
    )
    if arguments.prompt is not None:
        conversation.answer(arguments.prompt)
        return
    say("Type a message; /reset begins a new conversation, /quit leaves.")
    while (line := read_line()) not in (None, "/quit"):
        if line == "/reset":
            conversation.reset()
            say("(a new conversation)")
        elif line:
            conversation.answer(line)


def read_line() -> str | None:
    """One line of input without its white space; None at its end."""
    if sys.stdin.isatty():
        print("> ", end="", flush=True)
    line = sys.stdin.readline()
    return line.strip() if line else None


if __name__ == "__main__":
    run(main)
