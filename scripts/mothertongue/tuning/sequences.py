"""Threads as token sequences of a maximum length: splitting longer ones between exchanges, or truncating them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from mothertongue.prompts.templates import ControlText, Encoded, Message, Template, encode


@dataclass(frozen=True)
class Account:
    """Counts of threads, of their sequences, and of the tokens lost.

    A split thread has several sequences, a cut thread lost tokens; a thread can be both. `cut_assistant_tokens` are the
    lost tokens with a label. In a refused thread, text of a message would become a control token. Threads that are left
    out are too long.
    """

    threads: int = 0
    sequences: int = 0
    split_threads: int = 0
    cut_threads: int = 0
    cut_tokens: int = 0
    cut_assistant_tokens: int = 0
    threads_without_target: int = 0
    refused_threads: int = 0
    left_out_threads: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def fit(
    threads: Sequence[list[Message]], template: Template, tokenizer: Any, max_length: int, how: str
) -> tuple[list[Encoded], Account]:
    """Return the threads as sequences of at most `max_length` tokens, each with labels, in order, and an account.

    `how` "split" divides longer threads between exchanges: each part has the system prompt and as many exchanges as
    fit, and an exchange that does not fit alone is truncated. `how` "cut" truncates longer threads, "leave_out" skips
    them.
    """
    sequences, account = [], Account()
    for messages in threads:
        try:
            whole = encode(messages, template, tokenizer)
            parts = [whole]
            if len(whole.input_ids) > max_length and how == "leave_out":
                account += Account(threads=1, left_out_threads=1)
                continue
            if len(whole.input_ids) > max_length and how == "split":
                parts = list(_parts(messages, template, tokenizer, max_length))
        except ControlText:
            account += Account(threads=1, refused_threads=1)
            continue
        parts = [part for part in parts if part.targets]
        kept = [part for part in (part.cut(max_length) for part in parts) if part.targets]
        lost = sum(len(part.input_ids) for part in parts) - sum(len(part.input_ids) for part in kept)
        unlearned = sum(part.targets for part in parts) - sum(part.targets for part in kept)
        account += Account(1, len(kept), len(kept) > 1, lost > 0, lost, unlearned, not kept)
        sequences += kept
    return sequences, account


def _parts(messages: list[Message], template: Template, tokenizer: Any, max_length: int) -> Iterator[Encoded]:
    """Yield a thread in parts of whole exchanges; only a part of a single exchange may exceed `max_length`."""
    system, exchanges = _exchanges(messages)
    at, tried = 0, 1
    while at < len(exchanges):
        left = len(exchanges) - at
        part: Encoded | None = None
        count, too_many, step = 0, left + 1, 1
        tried = min(tried, left)
        # Exponential search from the size of the previous part, then bisection: few attempts for a part of any length.
        while part is None or too_many - count > 1:
            encoded = encode([*system, *chain(*exchanges[at : at + tried])], template, tokenizer)
            if len(encoded.input_ids) <= max_length or tried == 1:
                part, count = encoded, tried
            else:
                too_many = tried
            if not count:
                tried = max(1, tried - step)
            elif too_many > left:
                tried = min(count + step, left)
            else:
                tried = (count + too_many) // 2
            step *= 2
        yield part
        at, tried = at + count, count


def _exchanges(messages: list[Message]) -> tuple[list[Message], list[list[Message]]]:
    """Return the system prompt (none or one message), and the exchanges: user messages and the replies to them."""
    first = 1 if messages and messages[0]["role"] == "system" else 0
    exchanges: list[list[Message]] = []
    for before, message in zip([None, *messages[first:]], messages[first:], strict=False):
        if before is None or (message["role"] == "user" and before["role"] == "assistant"):
            exchanges.append([])
        exchanges[-1].append(message)
    return messages[:first], exchanges
