"""Tokenizing of preference pairs for DPO and ORPO."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.prompts.templates import ControlText, Template, encode, encode_prompt


@dataclass(frozen=True)
class EncodedPair:
    """A prompt and two answers, each with its end of turn, as tokens."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    def __len__(self) -> int:
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)

    @property
    def targets(self) -> int:
        """The number of tokens that contribute to the loss."""
        return len(self.chosen) + len(self.rejected)


def encode_pairs(
    rows: Iterable[Mapping[str, Any]], template: Template, tokenizer: Any, max_length: int, leave_out: bool = False
) -> tuple[list[EncodedPair], dict[str, int]]:
    """Tokenize preferences (prompt, chosen, rejected: messages) to at most `max_length` tokens; return an account too.

    Longer answers lose their end, and the token that ends their turn: `cut_chosen` and `cut_rejected` count them by
    side, since a model learns to prefer answers without an end where the chosen ones have lost it. With `leave_out`
    such pairs are left out (left_out_pairs). Pairs are skipped where the prompt leaves no room, where the truncated
    answers are equal, or where text of a message would become a control token (refused_pairs).
    """
    pairs = []
    account = dict.fromkeys(
        ("pairs", "cut_pairs", "cut_chosen", "cut_rejected", "cut_tokens", "left_out_pairs", "too_long_prompts"), 0
    )
    account |= {"same_once_cut": 0, "refused_pairs": 0}
    for row in rows:
        try:
            prompt = encode_prompt(row["prompt"], template, tokenizer)
            sides = [_tokens([*row["prompt"], *row[side]], template, tokenizer) for side in ("chosen", "rejected")]
        except ControlText:
            account["refused_pairs"] += 1
            continue
        # A token may span the end of the prompt and the beginning of the answer.
        start = min(_common(prompt, side) for side in sides)
        room = max_length - start
        chosen, rejected = (side[start : start + max(room, 0)] for side in sides)
        lost = [max(0, len(side) - max_length) for side in sides]
        if room <= 0:
            account["too_long_prompts"] += 1
        elif leave_out and any(lost):
            account["left_out_pairs"] += 1
        elif chosen == rejected:
            account["same_once_cut"] += 1
        else:
            pairs.append(EncodedPair(prompt[:start], chosen, rejected))
            account["cut_pairs"] += any(lost)
            account["cut_chosen"] += lost[0] > 0
            account["cut_rejected"] += lost[1] > 0
            account["cut_tokens"] += sum(lost)
    account["pairs"] = len(pairs)
    return pairs, account


def _tokens(messages: list[dict[str, str]], template: Template, tokenizer: Any) -> list[int]:
    """Tokenize a conversation up to its last token with a label."""
    encoded = encode(messages, template, tokenizer)
    end = max(at for at, label in enumerate(encoded.labels) if label >= 0)
    return encoded.input_ids[: end + 1]


def _common(prompt: list[int], whole: list[int]) -> int:
    for at, (a, b) in enumerate(zip(prompt, whole, strict=False)):
        if a != b:
            return at
    return min(len(prompt), len(whole))
