"""What an adapter's training.json says in words: the share of the data that training read, and its unit."""

from collections.abc import Mapping
from typing import Any


def read_of(record: Mapping[str, Any]) -> str:
    """Return what training read, to stand before the data: `2.0 epochs of`, or `7,781 of the 35,297 tokens of`.

    Empty where the record does not have the number of tokens, as those of earlier versions.
    """
    tokens, total = record["training"].get("tokens"), record["data"].get("tokens")
    if not tokens or not total:
        return ""
    if tokens < total:
        return f"{tokens:,} of the {total:,} tokens of"
    return f"{tokens / total:.1f} epochs of"


def unit(record: Mapping[str, Any]) -> str:
    """Return what a step reads: sequences, which may hold several threads, or preference pairs."""
    return "sequence" if record["settings"]["method"] == "sft" else "preference pair"


def steps_of(record: Mapping[str, Any]) -> str:
    """Return the number of steps and what each reads, where that is recorded: `20 steps of 1 sequence`."""
    training = record["training"]
    steps, each = training["steps"], training.get("sequences_a_step")
    said = f"{steps:,} step{'s' if steps != 1 else ''}"
    return said if each is None else f"{said} of {each:,} {unit(record)}{'s' if each != 1 else ''}"


def stage(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record of an adapter that goes on from another one keeps of that one's training."""
    measured = {key: record["training"].get(key) for key in ("steps", "sequences_a_step", "tokens")}
    mix = {"mix": record["mix"]} if "mix" in record else {}
    return {"settings": record["settings"], "data": record["data"], "training": measured} | mix


def data_of(record: Mapping[str, Any]) -> str:
    """Return the data of a training in words: `7,781 of the 35,297 tokens of 69 threads`, `2.0 epochs of 25 pairs`."""
    data = record["data"]
    what, count = ("threads", data["threads"]) if "threads" in data else ("preference pairs", data["pairs"])
    return f"{read_of(record)} {count:,} {what if count != 1 else what[:-1]}".strip()
