"""Near-duplicates among conversations: the same texts with other words here and there, or in another source.

Method: MinHash with locality-sensitive hashing (Broder, 1997; Leskovec et al., Mining of Massive Datasets, chapter 3)
on 5-grams of words, with the candidates' exact Jaccard similarity.
"""

import tempfile
from array import array
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from mothertongue.dataset.ngrams import ngrams, words
from mothertongue.dataset.trees import Document

_WORDS = 5
_PERMUTATIONS = 128
# The share of the pairs at the threshold that the hashing finds at least.
_RECALL = 0.995
_SEED = 1
# Candidates that a document is compared with at most, and documents whose 5-grams are held at a time.
_CANDIDATES, _KEPT = 200, 1_000


@dataclass(frozen=True)
class Duplicate:
    """A document that is left out, the one that is kept in its place, and their similarity (0 to 1)."""

    tree: str
    source: str
    kept_tree: str
    kept_source: str
    similarity: float


class _Texts:
    """The documents, with the number of characters of each; their texts are in a temporary file."""

    def __init__(self, documents: Iterable[Document], folder: Path | None) -> None:
        self.documents: list[Document] = []
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (it is closed with the last reference)
        self._starts, self.characters = array("q", [0]), array("q")
        for document in documents:
            self._file.write(document.text.encode("utf-8", "surrogatepass"))
            self._starts.append(self._file.tell())
            self.characters.append(len(document.text))
            self.documents.append(replace(document, text=""))

    def shingles(self, number: int) -> frozenset[str]:
        """Return the 5-grams of words of a text."""
        start, end = self._starts[number : number + 2]
        self._file.seek(start)
        return _shingles(self._file.read(end - start).decode("utf-8", "surrogatepass"))


def find(
    documents: Iterable[Document], threshold: float, keep: Literal["best", "first"], folder: Path | None = None
) -> tuple[list[Duplicate], int]:
    """Return the documents that are near-duplicates of a kept one, in their order, and the number of all.

    Two are near-duplicates where the share of their 5-grams of words that both have (Jaccard) is at least `threshold`.
    `keep` chooses which one stays: that whose tree has the most messages, then the longest; or the first. Documents
    without words have none. Texts are in a file in `folder` (default: the system's for temporary files); of each
    document that is kept about 3 kB are in memory.
    """
    from rensa import RMinHash, RMinHashLSH

    texts = _Texts(documents, folder)
    order = list(range(len(texts.documents)))
    if keep == "best":
        order.sort(key=lambda number: (-texts.documents[number].messages, -texts.characters[number]))
    # The hashing compares signatures in bands; it finds more pairs than the threshold asks, which are then computed.
    index = RMinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, num_bands=_PERMUTATIONS // _rows(threshold))
    shingles_of = lru_cache(maxsize=_KEPT)(texts.shingles)
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
            document, kept = texts.documents[number], texts.documents[-best[1]]
            found[number] = Duplicate(document.tree, document.source, kept.tree, kept.source, round(best[0], 3))
        else:
            index.insert(number, hashed)
    return [found[number] for number in sorted(found)], len(texts.documents)


def _shingles(text: str) -> frozenset[str]:
    return frozenset(run for run in ngrams(words(text), _WORDS) if run)


def _similarity(one: Set[str], other: Set[str]) -> float:
    return len(one & other) / len(one | other)


def _rows(threshold: float) -> int:
    """Return the rows of a band, a divisor of the permutations, with which pairs at the threshold share one often."""
    enough = [rows for rows in (1, 2, 4, 8, 16, 32) if 1 - (1 - threshold**rows) ** (_PERMUTATIONS // rows) >= _RECALL]
    return max(enough, default=1)
