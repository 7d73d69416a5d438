"""The language of a conversation's messages: of a column, one for all, or identified."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mothertongue.common.language_id import identify
from mothertongue.common.plain_text import byte_length
from mothertongue.formats.messages import is_language_tag
from mothertongue.source.conversations import Unreadable
from mothertongue.source.files import Row

DETECT = "detect"
# The code for text whose language cannot be told (ISO 639-2), and the probability that one needs.
UNDETERMINED, _CONFIDENCE = "und", 0.5
# A message of fewer bytes is in the language of its conversation; a longer one in another that is this probable.
_JUDGED_BYTES, _OTHER = 60, 0.9
# The bytes by which a message counts at most: the identifier reads no more.
_READ = 160


@dataclass
class Languages:
    """Sets the languages of messages. `given` is a code for all of them, DETECT, or None for the rows' own column.

    `names` are codes by the English names of languages, in small letters. `found` has the identified languages of
    conversations with the probabilities.
    """

    given: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    found: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def tag(self, value: Any) -> str:
        """Return the language of a row from its column: a tag or an English name; empty to identify it.

        Raise Unreadable where it is neither.
        """
        if self.given == DETECT:
            return ""
        if self.given is not None or value is None or value == "":
            return self.given or ""
        if isinstance(value, str) and (known := self.names.get(value.strip().lower())):
            return known
        if not isinstance(value, str) or not is_language_tag(value):
            raise Unreadable(f"language {str(value)[:60]!r} is neither a tag such as en or pt-BR nor an English name")
        return value

    def identify(self, rows: list[Row]) -> None:
        """Set the language of a conversation's messages where they have none.

        It is that which most of their text is in, by what the identifier reads of each, or undetermined; a long message
        that is surely in another has its own.
        """
        if not rows or rows[0]["lang"]:
            return
        guesses = [identify(row["text"]) for row in rows]
        votes: dict[str, float] = defaultdict(float)
        for row, (lang, probability) in zip(rows, guesses, strict=True):
            votes[lang] += probability * min(byte_length(row["text"]), _READ)
        lang = max(votes, key=lambda code: votes[code])
        probability = votes[lang] / sum(min(byte_length(row["text"]), _READ) for row in rows)
        if not lang or probability < _CONFIDENCE:
            lang = UNDETERMINED
        self.found[lang].append(probability)
        for row, (own, sure) in zip(rows, guesses, strict=True):
            long = byte_length(row["text"]) >= _JUDGED_BYTES
            row["lang"] = own if long and sure >= _OTHER else lang

    def as_json(self) -> dict[str, Any]:
        """Return the identified languages with their conversations and the mean probability, the commonest first."""
        counts = sorted(self.found.items(), key=lambda one: (-len(one[1]), one[0]))
        return {
            lang: {"conversations": len(all_), "probability": round(sum(all_) / len(all_), 3)} for lang, all_ in counts
        }
