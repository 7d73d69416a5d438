"""The forms in which people review translations: a workbook (.xlsx), a CSV file, and tasks of Label Studio.

Each row has a message's context, source, translation and reasons, empty cells for the corrected text, verdict, comment,
reviewer and date, and the key by which a correction finds its translation.
"""

import csv
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font, PatternFill, Protection
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from mothertongue.common.languages import direction
from mothertongue.dataset.review import Item
from mothertongue.dataset.verdicts import VERDICTS

# The columns in order, with their widths in a workbook in characters.
WIDTHS = {
    "context": 30, "source": 60, "translation": 60, "corrected": 60, "verdict": 12, "comment": 25, "reviewer": 14,
    "date": 12, "reasons": 22, "earlier": 30, "why": 14, "source_lang": 10, "model": 20, "message_id": 20, "key": 20,
}  # fmt: skip
COLUMNS = tuple(WIDTHS)
TO_FILL_IN = ("corrected", "verdict", "comment", "reviewer", "date")
SHEET, HELP_SHEET = "review", "how to"
# UTF-16 units that a cell of a workbook can hold; a longer text cannot be corrected there.
CELL = 32_767
# Characters that XML cannot hold, and what is shown for them.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
CANNOT_SHOW = "\ufffd"
# A workbook holds a character that XML cannot as _xHHHH_ (ECMA-376, ST_Xstring); of a text that looks so the first
# underscore is held in this way.
ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_LOOKS_ESCAPED = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
# The height of a line, and of the highest row, in points.
_LINE, _HIGHEST = 14.0, 409.0
TOO_LONG = "[too long for a cell of a workbook: correct it in the CSV file or in Label Studio]"
TOO_LONG_BEGINS = "[too long for a cell"
# What programs take for a formula, where a cell begins so. Apostrophes before it are the text's own, or the guard.
FORMULA = re.compile(r"('*)[=+\-@\t\r]")
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_TARGET_COLUMNS = ("translation", "corrected", "earlier")
_SOURCE_COLUMNS = ("source", "context")
_HELP = (
    "Each row is a message. Read source and translation; context is the message before it.",
    f"verdict: one of {', '.join(VERDICTS)}. Please judge every row of the random sample that you look at.",
    "corrected: the whole translation as it should be, where it is not good. Leave it empty to keep the translation.",
    "reviewer and date are optional; they appear in the dataset's reasons, which may be published.",
    "Do not change the other columns: `key` says to which translation a correction belongs.",
    "Save the file as .xlsx or as CSV (UTF-8), put it into config/corrections/{lang}/, and run the workflow again.",
)
LABELS = """<View>
  <Header value="$why: $reasons"/>
  <Text name="context" value="$context"/>
  <Text name="source" value="$source"/>
  <Text name="translation" value="$translation"/>
  <TextArea name="corrected" toName="translation" value="$translation" maxSubmissions="1" rows="8"
            placeholder="the whole translation as it should be; leave it empty to keep it"/>
  <Choices name="verdict" toName="translation" required="true">
{choices}
  </Choices>
</View>
"""


def write_xlsx(items: Sequence[Item], lang: str, path: Path) -> None:
    """Write the workbook: locked but for the cells to fill in, texts wrapped, each in its language's direction."""
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = SHEET
    sheet.append(COLUMNS)
    for item in items:
        values = asdict(item)
        sheet.append([_cell(values.get(column, "")) for column in COLUMNS])
    for number, (column, width) in enumerate(WIDTHS.items(), 1):
        letter = get_column_letter(number)
        sheet.column_dimensions[letter].width = width
        sheet[f"{letter}1"].font = Font(bold=True)
        sheet[f"{letter}1"].fill = PatternFill("solid", fgColor="FFF2CC" if column in TO_FILL_IN else "DDDDDD")
        for cell in sheet[letter][1:]:
            # Text in every cell, also where it begins like a formula; what is typed stays as it is typed.
            cell.number_format, cell.data_type = "@", "s" if cell.value is not None else "n"
            cell.protection = Protection(locked=column not in TO_FILL_IN)
            cell.alignment = Alignment(wrap_text=True, vertical="top", **_direction(column, lang, items[cell.row - 2]))
    for number, item in enumerate(items, 2):
        sheet.row_dimensions[number].height = _height(item)
    sheet.freeze_panes = "A2"
    sheet.page_setup.orientation, sheet.page_setup.fitToHeight = "landscape", 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    verdicts = DataValidation(type="list", formula1=f'"{",".join(VERDICTS)}"', allow_blank=True)
    sheet.add_data_validation(verdicts)
    letter = get_column_letter(COLUMNS.index("verdict") + 1)
    verdicts.add(f"{letter}2:{letter}{max(2, len(items) + 1)}")
    sheet.protection.sheet = True
    sheet.protection.formatColumns = sheet.protection.formatRows = False
    advice = book.create_sheet(HELP_SHEET)
    advice.column_dimensions["A"].width = 110
    for line in _HELP:
        advice.append([line.format(lang=lang)])
    book.save(path)
    _without_time(path)


def _height(item: Item) -> float:
    """Return the height of a row in points that shows its longest text, at most what programs allow."""
    texts = {column: text for column, text in asdict(item).items() if column in WIDTHS}
    lines = [sum(len(line) // WIDTHS[column] + 1 for line in text.splitlines()) for column, text in texts.items()]
    return min(_HIGHEST, _LINE * max(lines))


def _without_time(path: Path) -> None:
    """Rewrite a workbook without the time at which it was written: the same items give the same bytes."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["docProps/core.xml"] = _TIME.sub(b"1980-01-01T00:00:00Z", parts["docProps/core.xml"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def write_csv(items: Sequence[Item], lang: str, path: Path) -> None:
    """Write the CSV file, in UTF-8 with the mark by which Excel knows it."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for item in items:
            values = asdict(item)
            writer.writerow([_guarded(values.get(column, "")) for column in COLUMNS])


def write_tasks(items: Sequence[Item], lang: str, path: Path) -> None:
    """Write the tasks to import in Label Studio."""
    data = [{"data": asdict(item)} for item in items]
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", errors="backslashreplace")


def write_labels(items: Sequence[Item], lang: str, path: Path) -> None:
    """Write the labelling configuration of the project in Label Studio."""
    choices = "\n".join(f'    <Choice value="{verdict}"/>' for verdict in VERDICTS)
    path.write_text(LABELS.format(choices=choices), encoding="utf-8")


def _cell(text: str) -> str | None:
    """Return a text as a cell's value: U+FFFD for characters that no workbook holds, and cut where it is too long."""
    text = _NO_XML.sub(CANNOT_SHOW, text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _LOOKS_ESCAPED.sub("_x005F_", text)
    units = text.encode("utf-16-le", "replace")
    if len(units) > 2 * CELL:
        text = f"{units[: 2 * (CELL - len(TOO_LONG) - 1)].decode('utf-16-le', 'ignore')} {TOO_LONG}"
    return text or None


def _direction(column: str, lang: str, item: Item) -> dict[str, object]:
    """Return a cell's alignment: texts in a language that is written from right to left begin at the right."""
    language = lang if column in _TARGET_COLUMNS else item.source_lang if column in _SOURCE_COLUMNS else "en"
    return {"horizontal": "right", "readingOrder": 2} if direction(language) == "rtl" else {"readingOrder": 1}


def _guarded(text: str) -> str:
    """Return a text of a CSV file with an apostrophe before what a program would run as a formula."""
    return f"'{text}" if FORMULA.match(text) else text
