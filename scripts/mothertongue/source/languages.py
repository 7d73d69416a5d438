"""The language of a conversation's messages: of a column, one for all, or identified."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.language_id import identify
from mothertongue.common.plain_text import byte_length
from mothertongue.formats.messages import is_language_tag
from mothertongue.source.conversations import Unreadable, shown
from mothertongue.source.files import Row

DETECT = "detect"
# The code for text whose language cannot be told (ISO 639-2), and the probability that one needs.
UNDETERMINED, _CONFIDENCE = "und", 0.5
# A message of fewer bytes is in the language of its conversation; a longer one in another that is this probable.
_JUDGED_BYTES, _OTHER = 60, 0.9
# A conversation of fewer bytes is not identified, but in the language of the others if so many are in one.
_SHORT, _NEARLY_ALL, _SHORT_TAG = 40, 0.9, "short"
# The bytes by which a message counts at most: the identifier reads no more.
_READ = 160


@dataclass
class Languages:
    """Sets the languages of messages. `given` is a code for all of them, DETECT, or None for the rows' own column.

    `names` are codes by the English names of languages, in small letters. `found` counts the conversations of each
    identified language, `sure` has the sums of their probabilities. `unknown` counts the values of the column that are
    no language, `short` the conversations that are too short to identify.
    """

    given: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)
    sure: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    unknown: Counter[str] = field(default_factory=Counter)
    short: int = 0

    def tag(self, value: Any) -> str:
        """Return the language of a row from its column: a tag or an English name; empty to identify it.

        Names that are not known are counted. Raise Unreadable where it is no text.
        """
        if self.given is not None:
            return "" if self.given == DETECT else self.given
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Unreadable(f"language {shown(value)} is no text")
        tag = value.strip()
        if known := self.names.get(tag.lower()):
            return known
        if is_language_tag(tag):
            return tag
        if tag:
            self.unknown[tag] += 1
        return ""

    def identify(self, rows: list[Row]) -> None:
        """Set the language of a conversation's messages where they have none.

        It is that which most of their text is in, by what the identifier reads of each, or undetermined; a long message
        of a user or an assistant that is surely in another has its own. A short conversation is left for `settle`.
        """
        if not rows or rows[0]["lang"]:
            return
        sizes = [min(byte_length(row["text"]), _READ) for row in rows]
        if sum(sizes) < _SHORT:
            self.short += 1
            for row in rows:
                row["lang"] = _SHORT_TAG
            return
        guesses = [identify(row["text"]) for row in rows]
        votes: dict[str, float] = defaultdict(float)
        for size, (lang, probability) in zip(sizes, guesses, strict=True):
            votes[lang] += probability * size
        lang = max(votes, key=lambda code: votes[code])
        probability = votes[lang] / sum(sizes)
        if not lang or probability < _CONFIDENCE:
            lang = UNDETERMINED
        self.found[lang] += 1
        self.sure[lang] += probability
        for row, (own, sure) in zip(rows, guesses, strict=True):
            judged = row["role"] != "system" and byte_length(row["text"]) >= _JUDGED_BYTES
            row["lang"] = own if judged and sure >= _OTHER else lang

    def settled(self, tags: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return messages' languages; short conversations have that of nearly all others, or are undetermined."""
        if not self.short:
            return tags
        lang, most = next(iter(self.found.most_common(1)), (UNDETERMINED, 0))
        lang = lang if most >= _NEARLY_ALL * self.found.total() else UNDETERMINED
        return pc.if_else(pc.equal(tags, _SHORT_TAG), lang, tags)

    def as_json(self) -> dict[str, Any]:
        """Return the identified languages with their conversations and the mean probability, the commonest first."""
        counts = sorted(self.found.items(), key=lambda one: (-one[1], one[0]))
        return {
            lang: {"conversations": count, "probability": round(self.sure[lang] / count, 3)} for lang, count in counts
        }
