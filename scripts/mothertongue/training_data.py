"""What training reads: threads (sft) or preference pairs (dpo, orpo), tokenized, with an account of what was cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.errors import UserError
from mothertongue.pairs import Pair, encode_pairs
from mothertongue.preferences_file import read_preferences
from mothertongue.prompts import Encoded, Template, encode, end_of_turn, read_template, with_tokens_of
from mothertongue.threads_file import read_threads

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Tokenized:
    """Sequences that training can read, and the account of what they were made of."""

    data: Sequence[Encoded] | Sequence[Pair]
    account: dict[str, int]

    def __str__(self) -> str:
        tokens = sum(len(one) for one in self.data)
        kind = "pairs" if self.data and isinstance(self.data[0], Pair) else "sequences"
        counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in self.account.items() if count)
        return f"{len(self.data):,} {kind}, {tokens:,} tokens ({counts})"


def read(method: str, path: Path) -> list[Row]:
    """The threads or pairs of a file. Raises UserError naming what is wrong with it."""
    return list(read_threads(path) if method == "sft" else read_preferences(path))


def read_some(method: str, path: Path) -> list[Row]:
    """The same; raises UserError where there is none."""
    rows = read(method, path)
    if not rows:
        raise UserError(f"{path}: nothing to train on; see the accounting beside it")
    return rows


def template_for(path: Path, tokenizer: Any) -> Template:
    """A chat template with the tokenizer's special tokens.

    Raises UserError where it does not mark the assistant's words, or does not suit the tokenizer.
    """
    template = read_template(path)
    if not template.marks_assistant:
        raise UserError(
            f"{path}: this chat template does not mark the assistant's words with {{% generation %}}; "
            "set threads.prompt_format to llama2, chatml or a template of your own that does"
        )
    template = with_tokens_of(template, tokenizer)
    end_of_turn(template, tokenizer)
    return template


def tokenize(rows: Sequence[Row], template: Template, tokenizer: Any, method: str, max_length: int) -> Tokenized:
    """Rows as sequences of at most `max_length` tokens. Raises UserError where none of some teaches anything."""
    if method != "sft":
        return Tokenized(*encode_pairs(rows, template, tokenizer, max_length))
    whole = [encode(row["messages"], template, tokenizer) for row in rows]
    cut = [thread.cut(max_length) for thread in whole]
    lost = [len(a.input_ids) - len(b.input_ids) for a, b in zip(whole, cut, strict=True)]
    kept = [thread for thread in cut if thread.targets]
    if rows and not kept:
        raise UserError("no thread has an assistant's word within tuning.max_length; raise it or check the threads")
    account = {
        "threads": len(kept),
        "threads_without_target": len(rows) - len(kept),
        "cut_threads": sum(count > 0 for count in lost),
        "cut_tokens": sum(lost),
    }
    return Tokenized(kept, account)


def system_prompt(row: Row) -> str:
    """The system prompt that training sees; empty for none."""
    messages = row.get("messages") or row["prompt"]
    return messages[0]["content"] if messages[0]["role"] == "system" else ""
