"""Training data: tokenized threads (sft) or preference pairs (dpo, orpo), with an account of what was truncated."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Protocol

from mothertongue.common.errors import UserError
from mothertongue.formats.preferences import read_preferences
from mothertongue.formats.threads import read_threads
from mothertongue.prompts.templates import (
    FORMATS,
    Encoded,
    Template,
    UnmaskableTemplate,
    check_known,
    check_rows,
    end_of_turn,
    read_template,
    with_tokens_of,
)
from mothertongue.prompts.templates import (
    system_prompt as system_prompt_of,
)
from mothertongue.tuning import sequences
from mothertongue.tuning.pairs import EncodedPair, encode_pairs

Row = Mapping[str, Any]


class Example(Protocol):
    """A tokenized thread or preference pair."""

    def __len__(self) -> int: ...

    @property
    def targets(self) -> int:
        """The number of tokens that contribute to the loss."""


@dataclass(frozen=True)
class Tokenized(ABC):
    """Tokenized examples, and the account of the data they come from."""

    data: Sequence[Example]
    account: dict[str, int]

    kind: ClassVar[str]

    @property
    def tokens(self) -> int:
        """The number of tokens of all examples: what an epoch reads."""
        return sum(len(one) for one in self.data)

    def __str__(self) -> str:
        counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in self.account.items() if count)
        return f"{len(self.data):,} {self.kind}, {self.tokens:,} tokens ({counts})"

    @abstractmethod
    def token_ids(self) -> Iterator[Iterable[int]]:
        """Yield the token ids of each example."""

    @abstractmethod
    def rows(self) -> list[dict[str, list[int]]]:
        """Return the examples as rows with the columns that the method's TRL trainer reads."""


class Threads(Tokenized):
    """Threads, for sft."""

    data: Sequence[Encoded]
    kind = "sequences"

    def token_ids(self) -> Iterator[Iterable[int]]:
        """Yield the token ids of each thread."""
        return (one.input_ids for one in self.data)

    def rows(self) -> list[dict[str, list[int]]]:
        """Return the threads as rows for SFTTrainer."""
        return [{"input_ids": one.input_ids, "labels": one.labels} for one in self.data]


class Pairs(Tokenized):
    """Preference pairs, for dpo."""

    data: Sequence[EncodedPair]
    kind = "pairs"

    def token_ids(self) -> Iterator[Iterable[int]]:
        """Yield the token ids of each pair."""
        return (chain(one.prompt, one.chosen, one.rejected) for one in self.data)

    def rows(self) -> list[dict[str, list[int]]]:
        """Return the pairs as rows for DPOTrainer."""
        return [{"prompt_ids": one.prompt, "chosen_ids": one.chosen, "rejected_ids": one.rejected} for one in self.data]


class OrpoPairs(Pairs):
    """Preference pairs, for orpo."""

    def rows(self) -> list[dict[str, list[int]]]:
        """Return the pairs as rows for ORPOTrainer: each answer follows its prompt."""
        return [_orpo_row(pair) for pair in self.data]


def read(method: str, path: Path) -> list[Row]:
    """Read the threads or pairs of a file. Raise UserError where it is invalid."""
    return list(read_threads(path) if method == "sft" else read_preferences(path))


def read_some(method: str, path: Path) -> list[Row]:
    """Read the threads or pairs of a file. Raise UserError where it is invalid or empty."""
    rows = read(method, path)
    if not rows:
        raise UserError(f"{path}: nothing to train on; see the accounting beside it")
    return rows


def template_for(path: Path, tokenizer: Any, rows: int | None) -> Template:
    """Read a chat template, with the tokenizer's special tokens, for a model with `rows` embeddings.

    Raise UserError where it does not delimit the assistant's text exactly, or does not suit the tokenizer or the model.
    """
    template = with_tokens_of(read_template(path), tokenizer)
    if objection := template.objection():
        raise UnmaskableTemplate(objection)
    end_of_turn(template, tokenizer)
    check_rows(template, tokenizer, rows)
    return template


def tokenize(
    rows: Sequence[Row], template: Template, tokenizer: Any, method: str, max_length: int, too_long: str
) -> Tokenized:
    """Tokenize rows to at most `max_length` tokens; longer ones are split (threads alone), cut or left out."""
    if method == "sft":
        fitted, account = sequences.fit([row["messages"] for row in rows], template, tokenizer, max_length, too_long)
        return Threads(fitted, asdict(account))
    pairs = encode_pairs(rows, template, tokenizer, max_length, too_long == "leave_out")
    return Pairs(*pairs) if method == "dpo" else OrpoPairs(*pairs)


def check_tokens(tokenized: Tokenized, rows: int | None, tokenizer: Any) -> None:
    """Raise UserError where a token id of the data is not below the model's `rows` embeddings."""
    for ids in tokenized.token_ids():
        check_known(ids, rows, tokenizer)


def check_some(tokenized: Tokenized, method: str) -> None:
    """Raise UserError where no example is left."""
    if not tokenized.data and (
        refused := sum(tokenized.account.get(f"refused_{of}", 0) for of in ("threads", "pairs"))
    ):
        raise UserError(
            f"nothing to train on: of {refused:,} {'threads' if method == 'sft' else 'pairs'} a message would become"
            f" control tokens of the model; choose another threads.prompt_format: {FORMATS}"
        )
    if not tokenized.data:
        what = "thread has an assistant's word" if method == "sft" else "pair has room for an answer"
        raise UserError(f"no {what} within tuning.max_length; raise it or check the data")


def system_prompt(rows: Iterable[Row], lang: str) -> str:
    """Return the configured system prompt, which begins the rows of a language without a system message of their own.

    It is empty where there is none, or no such row. Rows that do not name their language are in this one.
    """
    own = (row for row in rows if row.get("lang", lang) == lang)
    shared = next((row for row in own if not _has_own_system(row)), None)
    return system_prompt_of(shared.get("messages") or shared["prompt"]) if shared else ""


def _has_own_system(row: Row) -> bool:
    """Return whether the system message of a row is a message of the dataset, which has an id."""
    messages = row.get("messages") or row["prompt"]
    if messages[0]["role"] != "system":
        return False
    # A pair has the ids of the dataset's messages in its prompt, and of two replies.
    return bool(messages[0].get("message_id")) or len(row.get("message_ids", ())) == len(messages) + 2


def _orpo_row(pair: EncodedPair) -> dict[str, list[int]]:
    row = {"prompt_input_ids": pair.prompt, "prompt_attention_mask": [1] * len(pair.prompt)}
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        row[f"{side}_input_ids"] = pair.prompt + answer
        row[f"{side}_attention_mask"] = [1] * (len(pair.prompt) + len(answer))
        row[f"{side}_labels"] = [-100] * len(pair.prompt) + answer
    return row
