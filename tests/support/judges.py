"""Judges for tests, as replies of a server (see endpoint.py), and data that they judge."""

import hashlib
import re

import pyarrow as pa
from endpoint import Reply
from oasst import row

from mothertongue.formats.messages import TRANSLATED

_PART = re.compile(r"BEGIN ([A-Z ]+) (?P<code>[0-9a-f]{12})\n(.*?)\nEND \1 (?P=code)(?=\n\n)", re.DOTALL)


def parts(body: dict) -> dict[str, str]:
    """Return the texts in a request by the names of their parts."""
    return {found[1]: found[3] for found in _PART.finditer(body["messages"][-1]["content"])}


def outside(body: dict) -> str:
    """Return what a request says outside its parts."""
    return "\n".join([body["messages"][0]["content"], _PART.sub("", body["messages"][-1]["content"])])


def verdict(letter: str) -> Reply:
    return Reply(f"One of them is better written.\nVERDICT: {letter}")


def number(body: dict) -> int:
    """Return a number that depends on a request alone."""
    return int(hashlib.sha256(body["messages"][-1]["content"].encode()).hexdigest(), 16)


def quality(text: str) -> int:
    """Return the quality that an answer of a test states."""
    return int(re.search(r"quality (\d+)", text)[1])


def perfect(body, _):
    a, b = (quality(parts(body)[f"ANSWER {name}"]) for name in "AB")
    return verdict("A" if a > b else "B" if a < b else "TIE")


def at_random(body, _):
    return verdict("AB"[number(body) % 2])


def mostly_first(body, _):
    return verdict("A" if number(body) % 10 < 8 else "B")


def always_first(body, _):
    return verdict("A")


def always_tie(body, _):
    return verdict("TIE")


def prose(body, _):
    return Reply("Both have merits; VERDICT: A seems right to me, although B is nice as well.")


def ranked_rows(count: int, lang: str = "pt", status: str = "translated", prefix: str = "q") -> list[dict]:
    """Return so many conversations, of a question and three replies whose quality is that of their ranks."""
    rows = []
    native = status == "native"
    more = {"split": "train", "source_lang": lang if native else "en", "status": status, "lang": lang,
            "route": "native" if native else "direct", "model": None if native else "m@1", "reasons": [],
            "score": None, "meaning": None}  # fmt: skip
    for at in range(count):
        tree = f"{prefix}{at}"
        texts = [f"Question {tree}?", *(f"Reply to {tree} of quality {3 - rank}." for rank in range(3))]
        source = texts if native else [f"{text} In English." for text in texts]
        rows.append(row(tree, text=texts[0], source_text=source[0], **more))
        rows += [
            row(f"{tree}-{rank}", tree, tree, text=texts[1 + rank], source_text=source[1 + rank], rank=rank, **more)
            for rank in range(3)
        ]
    return rows


def table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TRANSLATED)


def sample(side: str, at: int, quality: int, kind: str = "native") -> dict:
    """Return an answer of an evaluation, as in samples.jsonl."""
    return {"side": side, "kind": kind, "origin": "x", "prompt": f"Prompt {at}?", "reference": None,
            "answer": f"An answer of {side} to {at}, of quality {quality}.", "in_language": True, "ended": True,
            "repetition": 0.0, "chrf": None}  # fmt: skip
