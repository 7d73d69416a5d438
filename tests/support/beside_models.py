"""The files that the programs read in addition to models."""

from pathlib import Path

import pyarrow as pa
from oasst import row

from mothertongue.common.atomic_files import write_jsonl
from mothertongue.formats import messages


def write_inputs(place: Path, prompts: str) -> None:
    """Write threads, pairs, tokens, a shard, a dataset and the prompts, a few rows each, into a folder."""
    turns = [
        {"role": "user", "content": "Quanto é 2 + 2?", "message_id": "a"},
        {"role": "assistant", "content": "São 4.", "message_id": "b"},
    ]
    thread = {"thread_id": "b", "message_tree_id": "a", "lang": "pt", "messages": turns, "text": "..."}
    write_jsonl(place / "threads.jsonl", [thread] * 4)
    other = [turns[0] | {"content": "E quanto é 3 + 3?"}, turns[1] | {"content": "São 6."}]
    write_jsonl(place / "train.jsonl", [thread | {"messages": other}] * 4)
    rejected = [turns[1] | {"content": "Não."}]
    write_jsonl(place / "pairs.jsonl", [{"prompt": turns[:1], "chosen": turns[1:], "rejected": rejected}] * 4)
    tokens = {"input_ids": [3, 4, 5, 6], "labels": [-100, 4, 5, 6], "text": "a"}
    write_jsonl(place / "tokens.jsonl", [tokens])
    rows = [
        one | {"split": "validation", "source_lang": "en"}
        for one in (row("a", text="How are you?"), row("b", "a", text="Fine."))
    ]
    messages.write(pa.Table.from_pylist(rows, schema=messages.MESSAGES), place / "shard.parquet")
    more = {
        "source_text": "?",
        "route": "direct",
        "model": "m",
        "status": "translated",
        "reasons": [],
        "score": None,
        "meaning": None,
    }
    table = pa.Table.from_pylist([one | more | {"lang": "pt"} for one in rows], schema=messages.TRANSLATED)
    messages.write(table, place / "dataset.parquet")
    (place / "prompts").write_text(prompts, encoding="utf-8")
