"""Target languages: their codes, names and system prompts (config/languages.tsv)."""

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path

from mothertongue.errors import UserError

# Written without spaces between words: each character counts as a word, and sentences are joined without a space.
UNSPACED = frozenset({"zh", "zh-Hant", "ja", "th", "lo", "km", "my"})
# The letters (ranges, for a regular expression) that words of another script follow without a space. Hangul too: its
# particles do.
UNSPACED_LETTERS = "\\u0e00-\\u109f\\u1780-\\u17ff\\u3040-\\ud7af\\uf900-\\ufaff"
# Written from right to left.
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ps", "ur"})


@dataclass(frozen=True)
class Language:
    """One row of the table; `system_prompt` is worded in the language itself."""

    code: str
    name: str
    system_prompt: str


def read_languages(path: Path) -> dict[str, Language]:
    """The languages by code, in the table's order."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["code"]: Language(**row) for row in rows}


def find(code: str, languages: dict[str, Language]) -> Language:
    """The language of a code. Raises UserError with the nearest known language."""
    if code in languages:
        return languages[code]
    raise UserError(
        f"unknown target language '{code}'{nearest_language(code, languages)}; config/languages.tsv lists all"
    )


def direction(code: str) -> str:
    """`rtl` for a language that is written from right to left, else `ltr`: HTML's dir."""
    return "rtl" if code in RIGHT_TO_LEFT else "ltr"


def nearest_language(code: str, languages: dict[str, Language]) -> str:
    """`, did you mean …?` for an unknown code or an English name; empty where nothing is near."""
    names = {language.name.lower(): language.code for language in languages.values()}
    known = {**names, **{code: code for code in languages}}
    if (base := code.split("-")[0].lower()) in languages:
        return f", did you mean '{base}' ({languages[base].name})?"
    matches = difflib.get_close_matches(code.lower(), known, n=1, cutoff=0.5)
    if not matches:
        return ""
    near = languages[known[matches[0]]]
    return f", did you mean '{near.code}' ({near.name})?"
