"""Near-duplicates among conversations: the same texts with other words here and there, or in another source.

Method: MinHash with locality-sensitive hashing (Broder, 1997; Leskovec et al., Mining of Massive Datasets, chapter 3)
on 5-grams of words, with the candidates' exact Jaccard similarity.
"""

import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mothertongue.dataset.ngrams import ngrams, words

_WORDS = 5
_PERMUTATIONS = 128
# The share of the pairs at the threshold that the hashing finds at least.
_RECALL = 0.995
_SEED = 1


@dataclass(frozen=True)
class Document:
    """The text of a tree's best thread; `messages` are those of its tree, `source` is empty where there is one."""

    tree: str
    source: str
    text: str
    messages: int


@dataclass(frozen=True)
class Duplicate:
    """A document that is left out, the one that is kept in its place, and their similarity (0 to 1)."""

    tree: str
    source: str
    kept_tree: str
    kept_source: str
    similarity: float


def find(documents: Sequence[Document], threshold: float, keep: Literal["best", "first"]) -> list[Duplicate]:
    """Return the documents that are near-duplicates of a kept one, in their order.

    Two are near-duplicates where the share of their 5-grams of words that both have (Jaccard) is at least `threshold`.
    `keep` chooses which one stays: that whose tree has the most messages, then the longest; or the first.
    """
    from rensa import RMinHash

    order = list(range(len(documents)))
    if keep == "best":
        order.sort(key=lambda number: (-documents[number].messages, -len(documents[number].text)))
    rows = _rows(threshold)
    index: dict[bytes, list[int]] = defaultdict(list)
    found: dict[int, Duplicate] = {}
    for number in order:
        document = documents[number]
        shingles = _shingles(document)
        hashed = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        hashed.update(sorted(shingles))
        signature = struct.pack(f"<{_PERMUTATIONS}I", *hashed.digest())
        bands = [
            bytes([band]) + signature[4 * band * rows : 4 * (band + 1) * rows] for band in range(_PERMUTATIONS // rows)
        ]
        alike = {other for band in bands for other in index.get(band, ())}
        best = max(((_similarity(shingles, _shingles(documents[other])), -other) for other in alike), default=(0.0, 0))
        if best[0] >= threshold:
            kept = documents[-best[1]]
            found[number] = Duplicate(document.tree, document.source, kept.tree, kept.source, round(best[0], 3))
        else:
            for band in bands:
                index[band].append(number)
    return [found[number] for number in sorted(found)]


def _shingles(document: Document) -> set[str]:
    return set(ngrams(words(document.text), _WORDS))


def _similarity(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _rows(threshold: float) -> int:
    """Return the rows of a band with which pairs at the threshold share a band often enough."""
    enough = [rows for rows in range(1, 33) if 1 - (1 - threshold**rows) ** (_PERMUTATIONS // rows) >= _RECALL]
    return max(enough, default=1)
