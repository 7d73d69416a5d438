"""Reading the corrections that people made in review sheets: workbooks, CSV files, and exports of Label Studio."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from openpyxl import load_workbook
from openpyxl.utils.datetime import from_excel

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import one_line
from mothertongue.dataset.correction_folder import check_suffix
from mothertongue.dataset.corrections import Correction
from mothertongue.dataset.review_sheets import CANNOT_SHOW, COLUMNS, ESCAPED, FORMULA, TO_FILL_IN, TOO_LONG_BEGINS
from mothertongue.dataset.verdicts import VERDICTS

_NEEDED = ("key", "message_id", "corrected", "verdict")
# A workbook may decompress to so many bytes, a sheet have so many rows; a reviewer's name is cut to so many characters.
_MOST_BYTES, _MOST_ROWS, _NAME = 500_000_000, 100_000, 60
_KEY = re.compile(r"(?P<lang>[^:]+):[0-9a-f]{20}")
_CUT = "cut"

Fields = dict[str, Any]


def read(paths: Iterable[Path], lang: str) -> list[Correction]:
    """Return the corrections and verdicts of all files for the language `lang`.

    Raise UserError naming file and row for what is not a review sheet, for another language's, for an unknown verdict,
    and for a corrected text that is not text or is cut.
    """
    return [one for path in paths for where, fields in _rows(path) if (one := _correction(where, fields, lang))]


def filled_in(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the places of rows in which a person wrote anything, also a comment."""
    for path in paths:
        for where, fields in _rows(path):
            if any(_text(fields.get(name)).strip() for name in TO_FILL_IN):
                yield where


def _rows(path: Path) -> Iterator[tuple[str, Fields]]:
    """Yield the rows of a file as fields by column, each with its place."""
    check_suffix(path)
    return {".xlsx": _workbook_rows, ".csv": _csv_rows, ".json": _label_studio_rows}[path.suffix](path)


def _correction(where: str, fields: Mapping[str, Any], lang: str) -> Correction | None:
    """Return the correction of a row; None where nothing is filled in."""
    values = {name: _text(fields.get(name)) for name in COLUMNS}
    corrected, verdict = values["corrected"], values["verdict"].strip().lower()
    if not corrected.strip() and not verdict:
        return None
    key = _KEY.fullmatch(values["key"].strip())
    if not key:
        raise UserError(f"{where}: the key {one_line(values['key'][:40])!r} is not of a review sheet; make a new sheet")
    if key["lang"] != lang:
        raise UserError(f"{where}: this is a review of {key['lang']}, not of {lang}; move the file to its folder")
    if verdict not in ("", *VERDICTS):
        raise UserError(f"{where}: unknown verdict {one_line(verdict[:40])!r} (expected {', '.join(VERDICTS)})")
    if corrected.strip() and (fields.get(_CUT) or CANNOT_SHOW in values["translation"] or CANNOT_SHOW in corrected):
        raise UserError(f"{where}: the sheet cannot show all of this text; correct it in the CSV file instead")
    for name in ("corrected", "message_id", "reviewer", "date"):
        if "\0" in values[name] or any("\ud800" <= letter <= "\udfff" for letter in values[name]):
            raise UserError(f"{where}: {name} has characters that are not text; write it again")
    return Correction(
        key=key[0],
        message_id=values["message_id"],
        text=corrected if corrected.strip() else None,
        verdict=verdict or None,
        reviewer=one_line(" ".join(values["reviewer"].split()))[:_NAME],
        date=_date(values["date"].strip()),
        shown=values["translation"] if "translation" in fields and not fields.get(_CUT) else None,
        where=where,
    )


def _text(value: Any) -> str:
    """Return a cell's value as text, with line feeds at the ends of lines; whole numbers without a fraction."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).replace("\r\n", "\n").replace("\r", "\n")


def _date(text: str) -> str:
    """Return a date without its time; programs store some as the number of days since 1900."""
    if re.fullmatch(r"[0-9]{5}(\.[0-9]+)?", text):
        with suppress(ValueError, OverflowError, AttributeError):
            return from_excel(float(text)).date().isoformat()
    return text[:10] if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else one_line(text)[:_NAME]


def _workbook_rows(path: Path) -> Iterator[tuple[str, Fields]]:
    """Yield the rows of every sheet that has the columns."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_BYTES:
            raise UserError(f"{path}: decompresses to {size / 1e6:,.0f} MB, more than a review sheet can have")
        book = load_workbook(path, read_only=True)
        sheets = {}
        for sheet in book.worksheets:
            # Some programs store a size of the sheet that is not so.
            sheet.reset_dimensions()  # type: ignore[union-attr]
            rows = [list(row) for row in sheet.iter_rows(max_row=_MOST_ROWS + 1)]
            sheets[sheet.title] = [[(cell.value, cell.data_type) for cell in row] for row in rows]
    except UserError:
        raise
    except Exception as error:  # the reader raises many kinds of errors for damaged files
        raise UserError(f"{path}: not a readable workbook ({error}); save it as .xlsx again") from None
    tables = {name: rows for name, rows in sheets.items() if rows and ("key", "s") in rows[0]}
    if not tables:
        raise UserError(f"{path}: no column 'key' in the first row of a sheet; it is not a review sheet")
    for name, rows in tables.items():
        place = f"{path} row" if len(tables) == 1 else f"{path} sheet '{one_line(name)}' row"
        kinds = [[kind for _, kind in row] for row in rows]
        header = [_text(value).strip() for value, _ in rows[0]]
        values = [[_from_workbook(value) for value, _ in row] for row in rows]
        for (where, fields), types in zip(_table(path, values, place), kinds[1:], strict=True):
            for column in ("corrected", "verdict"):
                at = header.index(column)
                if at < len(types) and fields[column] not in (None, "") and types[at] not in ("s", "inlineStr"):
                    raise UserError(f"{where}: {column} is not a text but a number, date or formula; format it as text")
            yield where, fields | {_CUT: TOO_LONG_BEGINS in _text(fields.get("translation"))}


def _from_workbook(value: Any) -> Any:
    if not isinstance(value, str) or "_x" not in value:
        return value
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), value).replace("\r", "")


def _csv_rows(path: Path) -> Iterator[tuple[str, Fields]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as CSV UTF-8") from None
    # Excel's own mark of the delimiter.
    text = re.sub(r"\Asep=.\r?\n", "", text)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    csv.field_size_limit(2**31 - 1)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV file ({error})") from None
    for where, fields in _table(path, rows, f"{path} row"):
        guard = FORMULA.match(_text(fields.get("translation")))
        # The apostrophe before what looks like a formula is the guard's, in the corrected text where it was copied.
        for name, value in fields.items():
            found = FORMULA.match(_text(value))
            typed = name in TO_FILL_IN and not (guard and found and found[1] == guard[1])
            if found and found[1] and not typed:
                fields[name] = value[1:]
        yield where, fields


def _table(path: Path, rows: list[list[Any]], place: str) -> Iterator[tuple[str, Fields]]:
    """Yield the rows below the header as fields by column, each with its place."""
    header = [_text(name).strip() for name in rows[0]] if rows else []
    if missing := [name for name in _NEEDED if name not in header]:
        raise UserError(f"{path}: no column '{missing[0]}' in its first row; it is not a review sheet")
    if twice := [name for name in COLUMNS if header.count(name) > 1]:
        raise UserError(f"{path}: column '{twice[0]}' is there twice; keep one of them")
    if len(rows) > _MOST_ROWS:
        raise UserError(f"{path}: more than {_MOST_ROWS:,} rows; divide it into several files")
    for number, row in enumerate(rows[1:], 2):
        if any(_text(value).strip() for value in row[len(header) :]):
            raise UserError(f"{place} {number}: more cells than columns; put texts with commas between quotation marks")
        yield f"{place} {number}", dict.fromkeys(header, "") | dict(zip(header, row, strict=False))


def _label_studio_rows(path: Path) -> Iterator[tuple[str, Fields]]:
    """Yield the annotations of an export of Label Studio, JSON or JSON-MIN; tasks without annotation have none.

    Who annotated is not taken over: Label Studio has it as an e-mail address, and the dataset may be published.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f"{path}: not a list of tasks as Label Studio exports it")
    for number, task in enumerate(tasks, 1):
        where = f"{path} task {number}"
        try:
            yield from ((where, fields) for fields in _annotations(task))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise UserError(f"{where}: not a task of a review sheet as Label Studio exports it") from None


def _annotations(task: Mapping[str, Any]) -> list[Fields]:
    """Return the fields of a task's annotations. Raise KeyError, TypeError or ValueError for another form."""
    data = task.get("data", task)
    shown = {name: _of_type(data.get(name, ""), str) for name in COLUMNS if name not in TO_FILL_IN}
    if not shown["key"] or not shown["message_id"]:
        raise ValueError("no key")
    if data is task:
        given = {name: _answer(task.get(name)) for name in ("corrected", "verdict")}
        return [shown | given | {"date": _of_type(task.get("updated_at", ""), str)}]
    found = []
    for annotation in _of_type(task.get("annotations") or [], list):
        if not annotation.get("was_cancelled"):
            date = _of_type(annotation.get("updated_at") or annotation.get("created_at") or "", str)
            results = {result.get("from_name"): result.get("value") for result in annotation.get("result") or []}
            given = {name: _answer(results.get(name)) for name in ("corrected", "verdict")}
            found.append(shown | given | {"date": date})
    return found


def _answer(value: Any) -> str:
    """Return the text of an answer: {"text": ["..."]}, {"choices": ["good"]}, a list of texts, or a text."""
    if isinstance(value, dict):
        value = value.get("text", value.get("choices"))
    if isinstance(value, list):
        value = "\n".join(_of_type(one, str) for one in value)
    return "" if value is None else _text(_of_type(value, str))


def _of_type(value: Any, kind: type) -> Any:
    """Return a value of the expected type. Raise TypeError for another."""
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value
