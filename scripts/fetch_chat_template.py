"""Fetch the chat template that a base model is tuned with, and nothing else of the model.

This is the model's own template where that marks the assistant's words exactly, else ours for its family. Also write
which tokens its tokenizer treats as control tokens.
"""

import argparse
import tempfile
from pathlib import Path

from mothertongue.common.atomic_files import atomic_folder, write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.models import fetching, lockfile
from mothertongue.models.references import FORMS, parse
from mothertongue.prompts import choose_template
from mothertongue.prompts.templates import CHOICE, check_rows, end_of_turn


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help=FORMS)
    parser.add_argument(
        "--prompt-format",
        choices=("auto", "tokenizer"),
        default="auto",
        help="tokenizer: the model's own or none; auto (default): one of ours where its own will not do",
    )
    parser.add_argument(
        "--templates", type=Path, nargs="+", required=True, help="our own chat templates (.jinja), or their folder"
    )
    lockfile.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    reference = lockfile.pin(arguments.lock, parse(arguments.model))
    with tempfile.TemporaryDirectory() as scratch:
        resolved = fetching.download(reference, Path(scratch), weights=())
        with fetching.naming(reference, Path(scratch)):
            tokenizer = choose_template.load_tokenizer(Path(scratch))
            known = choose_template.known_tokens(Path(scratch))
    own = choose_template.own_template(tokenizer)
    choice = choose_template.choose(own, templates(arguments.templates), arguments.prompt_format == "tokenizer")
    check_rows(choice.template, tokenizer, known)
    end_of_turn(choice.template, tokenizer)  # refuses a template whose end of turn is not a token of this model
    added = {i: {"content": t.content, "special": t.special} for i, t in tokenizer.added_tokens_decoder.items()}
    with atomic_folder(arguments.output) as folder:
        (folder / "chat_template.jinja").write_text(choice.template.source, encoding="utf-8")
        write_json(folder / "tokenizer_config.json", choice.template.tokens | {"added_tokens_decoder": added})
        write_json(folder / CHOICE, {"template": choice.name, "reason": choice.reason})
        fetching.write_record(folder, reference, resolved)
    reason = f" ({choice.reason})" if choice.reason else ""
    log(f"fetch_chat_template: chat template: {choice.name}{reason} -> {arguments.output}")


def templates(paths: list[Path]) -> dict[str, Path]:
    """Return the templates among files and folders by their names without suffix."""
    files = [file for path in paths for file in (sorted(path.glob("*.jinja")) if path.is_dir() else [path])]
    return {file.stem: file for file in files}


if __name__ == "__main__":
    run(main, hub=True)
