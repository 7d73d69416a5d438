"""Reading the corrections that people made in review sheets: workbooks, CSV files, and exports of Label Studio."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from openpyxl import load_workbook
from openpyxl.utils.datetime import from_excel

from mothertongue.common.errors import UserError
from mothertongue.dataset.corrections import Correction
from mothertongue.dataset.review_sheets import CELL, FORMULA, SHEET, TOO_LONG_BEGINS
from mothertongue.dataset.verdicts import VERDICTS

SUFFIXES = (".xlsx", ".csv", ".json")
# Notes of people, and the labelling configuration beside the sheets.
_NO_SHEETS = (".md", ".txt", ".xml")
_NEEDED = ("key", "message_id", "corrected", "verdict")
# A workbook may decompress to so many bytes, and have so many rows.
_MOST_BYTES, _MOST_ROWS = 500_000_000, 1_000_000
_KEY = re.compile(r"(?P<lang>[A-Za-z-]+):[0-9a-f]{20}")

Fields = Mapping[str, Any]


def files(folder: Path) -> list[Path]:
    """Return the files of corrections in a folder, none where it does not exist.

    Notes (.md, .txt), Label Studio's labels.xml, hidden files and what office programs put beside an open file are
    passed over. Raise UserError for any other file: its corrections would be missing.
    """
    found = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    found = [path for path in found if not path.name.startswith((".", "~$")) and path.suffix not in _NO_SHEETS]
    if unknown := [path for path in found if path.suffix not in SUFFIXES]:
        raise UserError(f"{unknown[0]}: corrections are read from {', '.join(SUFFIXES)}; save it as one of these")
    return found


def read(paths: Iterable[Path], lang: str) -> list[Correction]:
    """Return the corrections and verdicts of all files for the language `lang`.

    Raise UserError naming file and row for what is not a review sheet, for another language's, and for an unknown
    verdict.
    """
    readers = {".xlsx": _workbook_rows, ".csv": _csv_rows, ".json": _label_studio_rows}
    corrections = []
    for path in paths:
        for where, fields in readers[path.suffix](path):
            corrections += _correction(where, fields, lang)
    return corrections


def _correction(where: str, fields: Fields, lang: str) -> list[Correction]:
    """Return the correction of a row; none where nothing is filled in."""
    values = {name: _text(fields.get(name)) for name in (*_NEEDED, "reviewer", "date", "why", "translation")}
    corrected, verdict = values["corrected"], values["verdict"].strip().lower()
    if corrected.strip() == values["translation"].strip():
        corrected = ""
    if not corrected.strip() and not verdict:
        return []
    key = _KEY.fullmatch(values["key"].strip())
    if not key:
        raise UserError(f"{where}: the key {values['key'][:40]!r} is not one of a review sheet; make a new sheet")
    if key["lang"] != lang:
        raise UserError(f"{where}: this is a review of {key['lang']}, not of {lang}; move the file to its folder")
    if verdict not in ("", *VERDICTS):
        raise UserError(f"{where}: unknown verdict {verdict[:40]!r} (expected {', '.join(VERDICTS)})")
    if TOO_LONG_BEGINS in corrected or fields.get("cut"):
        raise UserError(f"{where}: the corrected text is cut off; correct this message in the CSV file instead")
    if "\0" in corrected or any("\ud800" <= letter <= "\udfff" for letter in corrected):
        raise UserError(f"{where}: the corrected text has characters that are not text")
    return [
        Correction(
            key=key[0],
            message_id=values["message_id"],
            text=corrected if corrected.strip() else None,
            verdict=verdict or None,
            reviewer=" ".join(values["reviewer"].split()),
            date=_date(values["date"].strip()),
            why=values["why"],
            where=where,
        )
    ]


def _text(value: Any) -> str:
    """Return a cell's value as text, with line feeds at the ends of lines; whole numbers without a fraction."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).replace("\r\n", "\n").replace("\r", "\n").replace("_x000D_", "")


def _date(text: str) -> str:
    """Return a date without its time; programs store some as the number of days since 1900."""
    return from_excel(int(text)).date().isoformat() if re.fullmatch(r"\d{5}", text) else text[:10]


def _workbook_rows(path: Path) -> Iterator[tuple[str, Fields]]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_BYTES:
            raise UserError(f"{path}: decompresses to {size / 1e6:,.0f} MB, more than a review sheet can have")
        book = load_workbook(path, read_only=True, data_only=True)
        sheet = book[SHEET] if SHEET in book.sheetnames else book.worksheets[0]
        # Some programs store a size of the sheet that is not so.
        sheet.reset_dimensions()  # type: ignore[union-attr]
        rows = [list(row) for row in sheet.iter_rows(max_row=_MOST_ROWS, values_only=True)]
    except UserError:
        raise
    except Exception as error:  # the reader raises many kinds of errors for damaged files
        raise UserError(f"{path}: not a readable workbook ({error}); save it as .xlsx again") from None
    for where, fields in _table(path, rows):
        yield where, {**fields, "cut": len(_text(fields["corrected"])) >= CELL}


def _csv_rows(path: Path) -> Iterator[tuple[str, Fields]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as CSV UTF-8") from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    csv.field_size_limit(2**31 - 1)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV file ({error})") from None
    for where, fields in _table(path, rows):
        translation, corrected = (FORMULA.match(fields.get(name, "")) for name in ("translation", "corrected"))
        # The apostrophe is the guard's in the translation, and where it was copied from there.
        guarded = [name for name, found in (("translation", translation), ("corrected", corrected))
            if translation and found and found[1] and found[1] == translation[1]]  # fmt: skip
        yield where, fields | {name: fields[name][1:] for name in guarded}


def _table(path: Path, rows: list[list[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows below the header as fields by column, each with its place."""
    header = [_text(name).strip() for name in rows[0]] if rows else []
    if missing := [name for name in _NEEDED if name not in header]:
        raise UserError(f"{path}: no column '{missing[0]}' in its first row; it is not a review sheet")
    for number, row in enumerate(rows[1:], 2):
        yield f"{path} row {number}", dict.fromkeys(header, "") | dict(zip(header, row, strict=False))


def _label_studio_rows(path: Path) -> Iterator[tuple[str, Fields]]:
    """Yield the annotations of an export of Label Studio, JSON or JSON-MIN; tasks without annotation have none."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f"{path}: not a list of tasks as Label Studio exports it")
    for number, task in enumerate(tasks, 1):
        where = f"{path} task {number}"
        data = task.get("data") if isinstance(task.get("data"), dict) else task
        if not {"key", "message_id"} <= data.keys():
            raise UserError(f"{where}: no 'key' and 'message_id'; it is not a task of a review sheet")
        if data is task:
            given = {"reviewer": task.get("annotator"), "date": task.get("updated_at")}
            yield where, data | given | {name: _answer(task.get(name)) for name in ("corrected", "verdict")}
        for annotation in task.get("annotations") or []:
            if isinstance(annotation, dict) and not annotation.get("was_cancelled"):
                yield where, data | _annotation(annotation)


def _annotation(annotation: Fields) -> dict[str, Any]:
    person = annotation.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    fields = {"reviewer": person, "date": annotation.get("updated_at") or annotation.get("created_at")}
    for result in annotation.get("result") or []:
        if isinstance(result, dict) and result.get("from_name") in ("corrected", "verdict"):
            fields[result["from_name"]] = _answer(result.get("value"))
    return fields


def _answer(value: Any) -> str:
    """Return the text of an answer: {"text": ["..."]}, {"choices": ["good"]}, a list of one, or a text."""
    if isinstance(value, dict):
        value = value.get("text", value.get("choices"))
    if isinstance(value, list):
        value = "\n".join(map(_text, value))
    return _text(value)
