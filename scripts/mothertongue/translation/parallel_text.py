"""Parallel text: two files of one sentence a line, in two languages."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.atomic_files import read_lines
from mothertongue.common.errors import UserError
from mothertongue.common.languages import UNSPACED


@dataclass(frozen=True)
class Parallel:
    """Lines in one language and their translations in another, by language codes."""

    source: str
    target: str
    texts: Sequence[str]
    references: Sequence[str]

    @property
    def words(self) -> int:
        """The number of words to translate; in scripts without spaces each letter or digit counts as one."""
        if self.source in UNSPACED:
            return sum(character.isalnum() for text in self.texts for character in text)
        return sum(len(text.split()) for text in self.texts)


def read_parallel(
    source: Path, reference: Path, codes: tuple[str | None, str | None], known: Collection[str], limit: int | None
) -> Parallel:
    """Read at most `limit` lines of two aligned text files; without a code, the file suffix is the language.

    Raise UserError where a file is missing or not UTF-8, where the files have no text or different numbers of lines,
    and where the languages are equal or not in `known`.
    """
    origin = _language(source, codes[0], "--from", known)
    target = _language(reference, codes[1], "--to", known)
    if origin == target:
        raise UserError(f"both texts are in '{origin}'; say what languages they are in with --from and --to")
    texts, translations = _read_lines(source), _read_lines(reference)
    if len(texts) != len(translations):
        counts = f"{source} has {len(texts):,} lines, {reference} has {len(translations):,}"
        raise UserError(f"{counts}; each line must stand beside its translation")
    if not any(text.strip() for text in texts[:limit]):
        raise UserError(f"{source}: there is nothing to translate in it")
    return Parallel(origin, target, texts[:limit], translations[:limit])


def _language(path: Path, code: str | None, option: str, known: Collection[str]) -> str:
    found = code or path.suffix.removeprefix(".")
    if found not in known:
        where = "is not a known language code" if code else "does not end in a language code"
        raise UserError(f"{code or path} {where}; give one with {option}")
    return found


def _read_lines(path: Path) -> list[str]:
    lines = read_lines(path)
    return lines if lines[-1] else lines[:-1]
