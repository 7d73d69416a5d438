"""Held-out data of an evaluation: prompts and threads not seen in training, native and translated separately.

A native message was written in the target language by a person. Translated prompts share their style with translated
training data; only native ones show how the adapter answers real users.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.dataset import trees
from mothertongue.dataset.contamination import Questions
from mothertongue.dataset.thread_rows import are_native
from mothertongue.formats.messages import draw_key

NATIVE, TRANSLATED, ENGLISH = "native", "translated", "english"
KINDS = (NATIVE, TRANSLATED)
# Maximum number of characters of an exchange used as few-shot example.
_LONGEST_EXAMPLE = 800

Thread = Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """A question; `origin` is its file or message id, `reference` the best-ranked reply where there is one.

    `system` is the conversation's own system message, which belongs to the question; empty where it has none.
    """

    kind: str
    text: str
    origin: str
    reference: str | None = None
    system: str = ""


@dataclass(frozen=True)
class Chosen:
    """The prompts of all kinds, and the account by kind: how many, their origins, and how many training had seen."""

    prompts: list[Prompt]
    account: dict[str, dict[str, Any]]


def normalise(text: str) -> str:
    """Normalise a text (NFKC) to letters, vowel signs and digits, without case, punctuation and spacing."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(character for character in folded if unicodedata.category(character)[0] in "LMN")


def by_kind(threads: Iterable[Thread], dataset: pa.Table) -> dict[str, list[Thread]]:
    """Return threads by kind: native where all messages have that status in the dataset, else translated."""
    kinds: dict[str, list[Thread]] = {kind: [] for kind in KINDS}
    threads = list(threads)
    for thread, native in zip(threads, are_native(threads, dataset), strict=True):
        kinds[NATIVE if native else TRANSLATED].append(thread)
    return kinds


def candidates(threads: Mapping[str, Sequence[Thread]], lines: Sequence[str], file: str) -> list[Prompt]:
    """Return all candidate prompts: the first questions of held-out threads, and the lines of a file, as native."""
    found = [_question(kind, thread) for kind in KINDS for thread in threads[kind]]
    return found + [Prompt(NATIVE, line.strip(), file) for line in lines if line.strip()]


def texts_of(threads: Iterable[Thread], preferences: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the user messages of the training data: in threads, and in the prompts of preferences."""
    conversations = [thread["messages"] for thread in threads] + [pair["prompt"] for pair in preferences]
    return [turn["content"] for turns in conversations for turn in turns if turn["role"] == "user"]


def choose(found: Sequence[Prompt], fitting: Sequence[Prompt], seen: Iterable[str], count: int, seed: int) -> Chosen:
    """Choose at most `count` of the fitting prompts, half of them native where possible, none seen in training.

    `seen` are training texts: a prompt is removed where one of them has the same letters and digits, or holds it (see
    dataset.contamination). Native prompts
    alternate between messages, in an order that depends on the seed, and lines of the file. Raise UserError where no
    prompt is left.
    """
    asked, room = Questions(prompt.text for prompt in found), set(fitting)
    texts = list(seen)
    taboo = {normalise(text) for text in texts} | {normalise(held) for text in texts for held in asked.within(text)}
    account: dict[str, dict[str, Any]] = {}
    left: dict[str, list[Prompt]] = {}
    for kind in KINDS:
        of_kind = [prompt for prompt in found if prompt.kind == kind]
        unseen = [prompt for prompt in of_kind if normalise(prompt.text) not in taboo]
        short = [prompt for prompt in unseen if prompt in room]
        left[kind] = _in_turn(_distinct(short), seed)
        counts = {"found": len(of_kind), "seen_in_training": len(of_kind) - len(unseen)}
        account[kind] = {"count": 0, "from": {}} | counts | {"too_long": len(unseen) - len(short)}
    native = min(len(left[NATIVE]), max(-(-count // 2), count - len(left[TRANSLATED])))
    chosen = left[NATIVE][:native] + left[TRANSLATED][: count - native]
    for prompt in chosen:
        entry = account[prompt.kind]
        origin = prompt.origin if prompt.reference is None else "messages"
        entry["count"] += 1
        entry["from"][origin] = entry["from"].get(origin, 0) + 1
    if not chosen:
        raise UserError(
            "no prompts to evaluate on: there are no validation threads (raise source.validation) and no prompts of the"
            " language in config/prompts/, or training has seen them all, or the model has no room for them"
        )
    return Chosen(chosen, account)


def format_account(account: Mapping[str, Mapping[str, Any]]) -> str:
    """Format the account as one line."""
    parts = []
    for kind, counts in account.items():
        removed = {"training had seen": counts["seen_in_training"], "too long for the model": counts["too_long"]}
        without = ", ".join(f"{count:,} {why}" for why, count in removed.items() if count)
        parts.append(f"{counts['count']:,} {kind} of {counts['found']:,} found{f' ({without})' if without else ''}")
    return "prompts: " + ", ".join(parts)


def sample(threads: Sequence[Thread], count: int, seed: int) -> list[Thread]:
    """Sample at most `count` threads by the seed, and return them in their original order."""
    drawn = sorted(threads, key=lambda thread: draw_key(thread["thread_id"], seed))[:count]
    names = {thread["thread_id"] for thread in drawn}
    return [thread for thread in threads if thread["thread_id"] in names]


def examples(threads: Sequence[Thread], count: int, seed: int) -> list[Thread]:
    """Sample at most `count` few-shot examples for the base model: short first exchanges of training threads."""
    exchanges: list[Thread] = []
    for thread in threads:
        turns = [message for message in thread["messages"] if message["role"] != "system"][:2]
        if sum(len(message["content"]) for message in turns) <= _LONGEST_EXAMPLE:
            exchanges.append({"thread_id": thread["thread_id"], "messages": turns})
    return sorted(exchanges, key=lambda thread: draw_key(thread["thread_id"], seed))[:count]


def english_threads(dataset: pa.Table) -> list[Thread]:
    """Return the best threads of a dataset's messages from English, in the original text, without system prompt.

    The list is empty where English is the target language.
    """
    return [
        {
            "thread_id": thread[-1].id,
            "message_tree_id": thread[0].tree,
            "messages": [message.turn for message in thread],
        }
        for thread in trees.select(trees.originals(dataset, "en")).threads
    ]


def _question(kind: str, thread: Thread) -> Prompt:
    turns = [message for message in thread["messages"] if message["role"] != "system"]
    first = thread["messages"][0]
    own = first["content"] if first["role"] == "system" and first.get("message_id") is not None else ""
    return Prompt(kind, turns[0]["content"], turns[0]["message_id"], turns[1]["content"], own)


def _distinct(prompts: Iterable[Prompt]) -> list[Prompt]:
    """Return the first prompt of each normalised text."""
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        first.setdefault(normalise(prompt.text), prompt)
    return list(first.values())


def _in_turn(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """Return messages, shuffled by the seed, alternating with lines of the file, in its order."""
    messages = sorted((p for p in prompts if p.reference is not None), key=lambda p: draw_key(p.origin, seed))
    lines = [prompt for prompt in prompts if prompt.reference is None]
    return [prompt for pair in zip_longest(messages, lines) for prompt in pair if prompt]
