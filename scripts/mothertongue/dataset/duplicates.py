"""Near-duplicates among conversations: the same texts with other words here and there, or in another source.

Method: MinHash with locality-sensitive hashing (Broder, 1997; Leskovec et al., Mining of Massive Datasets, chapter 3)
on 5-grams of words, with the candidates' exact Jaccard similarity.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mothertongue.dataset.ngrams import ngrams, words
from mothertongue.dataset.trees import Document

_WORDS = 5
_PERMUTATIONS = 128
# The share of the pairs at the threshold that the hashing finds at least.
_RECALL = 0.995
_SEED = 1
# Candidates that a document is compared with at most, and documents whose 5-grams are held at a time.
_CANDIDATES, _KEPT = 200, 5_000


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
    `keep` chooses which one stays: that whose tree has the most messages, then the longest; or the first. Documents
    without words have none.
    """
    from rensa import RMinHash, RMinHashLSH

    order = list(range(len(documents)))
    if keep == "best":
        order.sort(key=lambda number: (-documents[number].messages, -len(documents[number].text)))
    # The hashing compares signatures in bands; it finds more pairs than the threshold asks, which are then computed.
    index = RMinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, num_bands=_PERMUTATIONS // _rows(threshold))
    shingles_of = lru_cache(maxsize=_KEPT)(lambda number: frozenset(_shingles(documents[number])))
    found: dict[int, Duplicate] = {}
    for number in order:
        shingles = shingles_of(number)
        if not shingles:
            continue
        hashed = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        hashed.update(sorted(shingles))
        alike = sorted(index.query(hashed))[:_CANDIDATES]
        best = max(((_similarity(shingles, shingles_of(other)), -other) for other in alike), default=(0.0, 0))
        if best[0] >= threshold:
            document, kept = documents[number], documents[-best[1]]
            found[number] = Duplicate(document.tree, document.source, kept.tree, kept.source, round(best[0], 3))
        else:
            index.insert(number, hashed)
    return [found[number] for number in sorted(found)]


def _shingles(document: Document) -> set[str]:
    return {run for run in ngrams(words(document.text), _WORDS) if run}


def _similarity(one: Set[str], other: Set[str]) -> float:
    return len(one & other) / len(one | other)


def _rows(threshold: float) -> int:
    """Return the rows of a band, a divisor of the permutations, with which pairs at the threshold share one often."""
    enough = [rows for rows in (1, 2, 4, 8, 16, 32) if 1 - (1 - threshold**rows) ** (_PERMUTATIONS // rows) >= _RECALL]
    return max(enough, default=1)
