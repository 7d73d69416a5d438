"""The messages that an adapter's training and validation data use: in threads, in preference pairs, or both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_jsonl

_SPLITS = {"train": "training", "validation": "validation"}


def in_threads(accounts: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return the number of messages in threads by a label of each split, from the accounting of threads."""
    return {
        f"in {account['threads']:,} {_SPLITS.get(split, split)} threads": account["messages"].get("in a thread", 0)
        for split, account in accounts.items()
    }


def in_mix(used: Mapping[str, int], mix: Path, lang: str) -> dict[str, int]:
    """Return messages in threads with those that the mix of the training threads has, in the place of all of them.

    Its threads in other languages are replayed originals of messages, and not counted.
    """
    rows = [row for row in read_jsonl(mix) if row["lang"] == lang]
    ids = {turn["message_id"] for row in rows for turn in row["messages"]} - {None}
    different = len({row["thread_id"].partition("#")[0] for row in rows})
    others = {label: count for label, count in used.items() if not label.endswith("training threads")}
    return {f"in {different:,} training threads of the mix": len(ids)} | others


def in_pairs(pairs: Sequence[Path], threads: Sequence[Path]) -> dict[str, int]:
    """Return the number of messages in preference pairs by a label of each split.

    `pairs` and `threads` are the files of the splits, by whose names the splits are known; messages that `threads` hold
    are in a thread already, and not counted again.
    """
    if not pairs:
        return {}
    counted = {
        turn["message_id"]
        for path in threads
        for row in read_jsonl(path)
        for turn in row["messages"]
        if "message_id" in turn
    }
    found = {}
    for path in pairs:
        rows = read_jsonl(path, message_ids=list)
        own = {id_ for row in rows for id_ in row["message_ids"]} - counted
        counted |= own
        only = "only " if threads else ""
        found[f"{only}in {len(rows):,} {_SPLITS.get(path.stem, path.stem)} pairs"] = len(own)
    return found
