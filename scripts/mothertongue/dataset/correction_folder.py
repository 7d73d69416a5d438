"""The folder of the corrections of a language; imported while Snakemake reads the rules, so without heavy packages."""

from pathlib import Path

from mothertongue.common.errors import UserError

SUFFIXES = (".xlsx", ".csv", ".json")
# Notes of people, and the labelling configuration beside the sheets.
_NO_SHEETS = (".md", ".xml")


def files(folder: Path) -> list[Path]:
    """Return the files of corrections in a folder, none where it does not exist.

    Notes (.md), Label Studio's labels.xml, hidden files and what office programs put beside an open file are passed
    over. Raise UserError for anything else: its corrections would be missing.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [path for path in entries if not path.name.startswith((".", "~$")) and path.suffix not in _NO_SHEETS]
    for path in found:
        check_suffix(path)
        if not path.is_file():
            raise UserError(f"{path}: not a file; put the review sheets themselves into {folder}")
    return found


def check_suffix(path: Path) -> None:
    """Raise UserError for a file that is not read as a review sheet."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: corrections are read from {', '.join(SUFFIXES)}; save it as one of these")
