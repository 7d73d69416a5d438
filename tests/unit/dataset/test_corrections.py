"""Review sheets and corrections: what people fill in, in any of the three forms, and what becomes of it."""

import csv
import datetime
import json
import re
import zipfile

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from oasst import row
from openpyxl import load_workbook
from steps import combined

from mothertongue.cards.dataset import dataset_card
from mothertongue.common.errors import UserError
from mothertongue.dataset import (
    combine,
    correction_files,
    correction_folder,
    corrections,
    quality_report,
    reasons,
    review,
    review_sheets,
    verdicts,
)
from mothertongue.dataset.corrections import Correction
from mothertongue.formats.messages import TRANSLATED

FORMS = ("xlsx", "csv", "json")
# What spreadsheets take for something else, and what they cannot hold.
AWKWARD = ["=1+1", "-3", "+55 11", "@home", "007", "1e5", "2024-01-02", "TRUE", "'=1", "a\nb\n\nc", " padded ", "a,b;c\td",
    '"quoted"', "שלום", "ação 👍🏽", "x\u2028y", "_x0041_", "line\r\nline"]  # fmt: skip


def message(id_, status="translated", text="Olá.", source_text="Hello.", parent=None, **more):
    values = {"source_lang": "en", "split": "train", "source_text": source_text, "route": "direct", "model": "m@1",
        "status": status, "reasons": [], "score": -0.5, "meaning": 0.9}  # fmt: skip
    return row(id_, parent, lang="pt", text=None if status == "failed" else text) | values | more


def shard(*messages):
    return pa.Table.from_pylist(list(messages), schema=TRANSLATED)


def sheets(folder, items, lang="pt"):
    folder.mkdir(exist_ok=True)
    review_sheets.write_xlsx(items, lang, folder / "sample.xlsx")
    review_sheets.write_csv(items, lang, folder / "sample.csv")
    review_sheets.write_tasks(items, lang, folder / "sample.json")
    return folder


def fill_in(folder, form, answers):
    """Fill in a sheet as a person would; `answers` has by message what stands in its cells."""
    path = folder / f"sample.{form}"
    if form == "xlsx":
        book = load_workbook(path)
        sheet = book[review_sheets.SHEET]
        columns = [cell.value for cell in sheet[1]]
        for cells in sheet.iter_rows(min_row=2):
            for name, value in answers.get(cells[columns.index("message_id")].value, {}).items():
                cell = cells[columns.index(name)]
                assert not cell.protection.locked
                # As Excel and LibreOffice write a text that looks like an escaped character.
                cell.value, cell.data_type = re.sub("_(?=x[0-9A-Fa-f]{4}_)", "_x005F_", value), "s"
        book.save(path)
    elif form == "csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        for fields in rows:
            fields |= answers.get(fields["message_id"], {})
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    else:
        tasks = json.loads(path.read_text())
        for task in tasks:
            given = answers.get(task["data"]["message_id"], {})
            result = [{"from_name": name, "to_name": "translation", "value": {kind: [given[name]]}}
                for name, kind in (("corrected", "text"), ("verdict", "choices")) if name in given]  # fmt: skip
            annotation = {
                "result": result,
                "completed_by": {"email": given.get("reviewer")},
                "created_at": "2026-05-04T10:00:00Z",
            }
            task["annotations"] = [annotation] if result else []
        path.write_text(json.dumps(tasks))
    return [path]


def reviewed(tmp_path, messages, answers, form="csv", **numbers):
    """What a person's answers make of the messages."""
    tables = [shard(*messages)]
    items = review.choose(tables, "pt", numbers.get("sample", 100), numbers.get("flagged", 100), 1)
    paths = fill_in(sheets(tmp_path / "sheets", items), form, answers)
    return corrections.apply(tables, "pt", correction_files.read(paths, "pt")), tables


def corrected(applied, tables):
    """The translations with the corrections."""
    return pa.concat_tables(map(applied.correct, tables))


@pytest.mark.parametrize("form", FORMS)
def test_what_people_write_comes_back_as_they_wrote_it(tmp_path, form):
    messages = [message(f"m{at}", text=f"{text} antes") for at, text in enumerate(AWKWARD)]
    answers = {f"m{at}": {"corrected": text, "verdict": "Wrong "} for at, text in enumerate(AWKWARD)}
    if form == "json":
        answers = {key: value | {"verdict": "wrong"} for key, value in answers.items()}
    applied, tables = reviewed(tmp_path, messages, answers, form)
    rows = corrected(applied, tables).to_pylist()
    wanted = [text.replace("\r\n", "\n") for text in AWKWARD]
    assert [row["text"] for row in rows] == wanted
    assert {row["status"] for row in rows} == {"corrected"} and not applied.refused


def test_what_is_copied_from_a_guarded_cell_is_no_other_text(tmp_path):
    messages = [message("a", text="- um\n- dois"), message("b", text="=2+2")]
    (path,) = fill_in(sheets(tmp_path / "s", review.choose([shard(*messages)], "pt", 9, 9, 1)), "csv", {})
    assert "'- um" in path.read_text() and "'=2+2" in path.read_text()
    applied, tables = reviewed(
        tmp_path, messages, {"a": {"corrected": "'- um\n- dois\n- três"}, "b": {"corrected": "'=2+2"}}
    )
    assert [row["text"] for row in corrected(applied, tables).to_pylist()] == ["- um\n- dois\n- três", "=2+2"]


@hypothesis.settings(max_examples=8)
@hypothesis.example(["_x000D_", "a_x0041_x0042_b", "_x005F_", "__x00e9__"])
@hypothesis.given(
    st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1), min_size=1, max_size=5)
)
def test_no_text_is_changed_on_its_way_through_a_sheet(tmp_path_factory, texts):
    texts = [text for text in texts if text.strip()]
    messages = [message(f"m{at}", text=f"{text}.", source_text=text) for at, text in enumerate(texts)]
    for form in FORMS if messages else ():
        answers = {f"m{at}": {"corrected": text} for at, text in enumerate(texts)}
        applied, tables = reviewed(tmp_path_factory.mktemp("form"), messages, answers, form)
        assert [row["text"] for row in corrected(applied, tables).to_pylist()] == texts


def test_verdicts_and_corrections_change_status_and_reasons(tmp_path):
    flagged = {"status": "flagged", "reasons": ["brackets", "names"]}
    messages = [message("good"), message("fixed", **flagged), message("fine", **flagged), message("bad"),
        message("none", "failed", model=None, reasons=["no route"]), message("left", **flagged), message("same")]  # fmt: skip
    answers = {
        "good": {"verdict": "good"},
        "fixed": {"corrected": "Oi!", "verdict": "wrong", "reviewer": "Ana  Luz", "date": "46146"},
        "fine": {"verdict": "acceptable"},
        "bad": {"verdict": "wrong"},
        "none": {"corrected": "Olá!"},
        "same": {"corrected": "Olá."},
    }
    applied, tables = reviewed(tmp_path, messages, answers)
    found = {
        row["message_id"]: (row["text"], row["status"], row["reasons"])
        for row in corrected(applied, tables).to_pylist()
    }
    assert found == {
        "good": ("Olá.", "translated", []),
        "fixed": ("Oi!", "corrected", ["corrected: Ana Luz, 2026-05-04"]),
        "fine": ("Olá.", "translated", ["approved: brackets", "approved: names"]),
        "bad": ("Olá.", "flagged", ["judged wrong"]),
        "none": ("Olá!", "corrected", ["corrected"]),
        "left": ("Olá.", "flagged", ["brackets", "names"]),
        "same": ("Olá.", "translated", []),
    }
    by_id = {row["message_id"]: row for row in corrected(applied, tables).to_pylist()}
    assert by_id["fixed"]["score"] is None and by_id["fixed"]["meaning"] is None and by_id["fine"]["score"] == -0.5
    account = corrections.account(tables, applied, 200, 1)
    assert (account["corrected"], account["approved"], account["judged_wrong"]) == (2, 1, 1)


def test_a_teachers_answers_are_reviewed_beside_the_question_that_it_read(tmp_path):
    taught = {"route": "teacher", "model": "T@teacher", "parent": "q"}
    messages = [message("q", text="Quem?", source_text="Who?"), message("fine", "flagged", reasons=["refused"], **taught),
        message("good", "answered", **taught), message("none", "failed", reasons=["empty"], **taught)]  # fmt: skip
    items = {item.message_id: item for item in review.choose([shard(*messages)], "pt", 9, 9, 1)}
    assert set(items) == {"q", "fine", "good", "none"} and {items[name].context for name in ("fine", "good")} == {
        "Quem?"
    }
    answers = {"fine": {"verdict": "good"}, "good": {"verdict": "good"}, "none": {"corrected": "Eu."}}
    applied, tables = reviewed(tmp_path, messages, answers)
    found = {row["message_id"]: (row["status"], row["text"]) for row in corrected(applied, tables).to_pylist()}
    assert found == {"q": ("translated", "Quem?"), "fine": ("answered", "Olá."), "good": ("answered", "Olá."),
        "none": ("corrected", "Eu.")}  # fmt: skip
    account = corrections.account(tables, applied, 9, 1)
    assert account["approved"] == 1 and account["sample"]["by_model"]["T@teacher"]["n"] == 2


def test_quality_tells_objections_from_notes(tmp_path):
    messages = [message("a", status="flagged", reasons=["brackets"]), message("b", status="flagged", reasons=["names", "emphasis removed"]),
        message("c", status="copied", reasons=["kept: pt"]), message("d", reasons=["cured: names"])]  # fmt: skip
    applied, tables = reviewed(tmp_path, messages, {"a": {"corrected": "Oi", "reviewer": "Ana"}})
    total = quality_report.report([corrected(applied, tables)], "pt")["total"]
    counts = {
        kind: {name: entry["messages"] for name, entry in total[kind].items()} for kind in ("reasons", "cured", "notes")
    }
    assert counts == {
        "reasons": {"names": 1}, "cured": {"names": 1}, "notes": {"corrected": 1, "emphasis removed": 1, "kept: pt": 1},
    }  # fmt: skip


def test_a_correction_of_what_has_changed_is_refused_and_shown_again(tmp_path):
    messages = [message("a"), message("b"), message("gone")]
    items = review.choose([shard(*messages)], "pt", 9, 9, 1)
    answers = {id_: {"corrected": f"Oi, {id_}!"} for id_ in ("a", "b", "gone")}
    given = correction_files.read(fill_in(sheets(tmp_path / "s", items), "xlsx", answers), "pt")
    later = [shard(message("a", text="Alô."), message("b"))]
    applied = corrections.apply(later, "pt", given)
    assert [row["text"] for row in corrected(applied, later).to_pylist()] == ["Alô.", "Oi, b!"]
    refused = corrections.account(later, applied, 200, 1)["refused"]
    assert {one["message_id"]: one["reason"] for one in refused} == {
        "a": "the translation or its source has changed since", "gone": "the dataset has no such message",
    }  # fmt: skip
    assert all("sample.xlsx row" in one.where for one, _ in applied.refused)
    keys = {one.key for one in applied.in_force.values()}
    again = review.choose(later, "pt", 0, 0, 1, keys, applied.changed())
    assert [(item.message_id, item.why, item.earlier) for item in again] == [("a", review.CHANGED, "Oi, a!")]


def test_two_corrections_that_differ_are_refused_before_anything_is_applied(tmp_path):
    items = review.choose([shard(message("a"), message("b"))], "pt", 9, 9, 1)
    paths = []
    for name, text in (("one", "Oi!"), ("two", "Alô!"), ("three", "Oi!")):
        paths += fill_in(sheets(tmp_path / name, items), "csv", {"a": {"corrected": text}, "b": {"verdict": "good"}})
    given = correction_files.read(paths, "pt")
    with pytest.raises(
        UserError, match=r"one/sample.csv row \d and .*two/sample.csv row \d: two corrections of message a differ in"
    ):
        corrections.apply([shard(message("a"), message("b"))], "pt", given)
    same = [one for one in given if "two/" not in one.where]
    assert len(corrections.apply([shard(message("a"), message("b"))], "pt", same).in_force) == 2


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "name,text\n1,2\n", "no column 'key' in its first row"),
        (
            "a.csv",
            "key,message_id,corrected,verdict\nx,m,Oi,good\n",
            r"row 2: the key 'x' is not of a review sheet",
        ),
        ("a.csv", f"key,message_id,corrected,verdict\nnl:{'0' * 20},m,Oi,\n", "this is a review of nl, not of pt"),
        ("a.csv", f"key,message_id,corrected,verdict\npt:{'0' * 20},m,Oi,bom\n", "unknown verdict 'bom'"),
        ("a.csv", b"key,message_id,corrected,verdict\n\xe9", "not UTF-8"),
        ("a.csv", "", "no column 'key'"),
        ("a.xlsx", "nothing", "not a readable workbook"),
        ("a.json", "{", "not JSON"),
        ("a.json", "{}", "not a list of tasks"),
        ("a.json", "[{}]", "task 1: not a task of a review sheet"),
    ],
)
def test_what_is_no_review_sheet_is_said_in_one_line(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=expected):
        correction_files.read(correction_folder.files(tmp_path), "pt")


def test_files_that_are_no_sheets(tmp_path):
    assert correction_folder.files(tmp_path / "none") == []
    for name in ("b.csv", "a.xlsx", ".~lock.a.xlsx#", "~$a.xlsx", "README.md", "labels.xml"):
        (tmp_path / name).touch()
    assert [path.name for path in correction_folder.files(tmp_path)] == ["a.xlsx", "b.csv"]
    (tmp_path / "c.ods").touch()
    with pytest.raises(
        UserError, match=r"c.ods: corrections are read from .xlsx, .csv, .json; save it as one of these"
    ):
        correction_folder.files(tmp_path)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(correction_files, "_MOST_BYTES", 5_000_000)
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        for at in range(6):
            archive.writestr(f"{at}", b"\0" * 1_000_000)
    with pytest.raises(UserError, match="decompresses to 6 MB, more than a review sheet can have"):
        correction_files.read([tmp_path / "a.xlsx"], "pt")


def test_the_sample_is_drawn_at_random_and_a_larger_one_has_the_smaller(tmp_path):
    messages = [message(f"m{at}", status="flagged" if at % 4 == 0 else "translated") for at in range(200)]
    messages += [message("n", "native", model=None), message("c", "copied"), message("f", "failed", model=None)]
    tables = [shard(*messages[:90]), shard(*messages[90:])]
    small, large, other = (review.choose(tables, "pt", n, 0, seed) for n, seed in ((20, 1), (80, 1), (20, 2)))
    assert [item.key for item in large[:20]] == [item.key for item in small] != [item.key for item in other]
    assert 8 <= sum(int(item.message_id[1:]) % 4 == 0 for item in large) <= 32
    both = review.choose(tables, "pt", 20, 500, 1)
    assert len(both) == len({item.message_id for item in both})
    assert {item.why for item in both} == {review.RANDOM, review.FLAGGED} and "f" in {item.message_id for item in both}
    assert not {"n", "c"} & {item.message_id for item in review.choose(tables, "pt", 500, 500, 1)}


def test_a_workbook_is_fit_to_read(tmp_path):
    """Locked but for the cells to fill in, wrapped, right to left where the language is, and the same bytes each time."""
    items = review.choose(
        [shard(message("a", text="שלום", parent="p"), message("p", source_text="Who?"))], "he", 9, 9, 1
    )
    first = sheets(tmp_path / "one", items, "he")
    sheet = load_workbook(first / "sample.xlsx")[review_sheets.SHEET]
    columns = {cell.value: cell.column - 1 for cell in sheet[1]}
    cells = next(cells for cells in sheet.iter_rows(min_row=2) if cells[columns["message_id"]].value == "a")
    assert cells[columns["context"]].value == "Who?"
    assert {name for name, at in columns.items() if not cells[at].protection.locked} == set(review_sheets.TO_FILL_IN)
    assert sheet.protection.sheet and sheet.freeze_panes == "A2"
    assert all(cell.alignment.wrap_text for cell in cells)
    directions = {name: cells[at].alignment.readingOrder for name, at in columns.items()}
    assert (
        directions["translation"] == directions["corrected"] == 2 and directions["source"] == directions["reasons"] == 1
    )
    assert sheet.data_validations.dataValidation[0].formula1 == '"good,acceptable,wrong"'
    second = sheets(tmp_path / "two", items, "he")
    assert [(first / f"sample.{form}").read_bytes() for form in FORMS] == [
        (second / f"sample.{form}").read_bytes() for form in FORMS
    ]


def test_a_text_that_no_cell_holds_is_not_corrected_in_a_workbook(tmp_path):
    long = "palavra " * 5000
    messages = [message("a", text=long)]
    applied, tables = reviewed(tmp_path, messages, {"a": {"corrected": long + "fim"}}, "csv")
    assert corrected(applied, tables)["text"].to_pylist() == [long + "fim"]
    items = review.choose([shard(*messages)], "pt", 9, 9, 1)
    book = load_workbook(sheets(tmp_path / "long", items) / "sample.xlsx")
    shown = next(cell.value for cell in book["review"]["C"] if str(cell.value).startswith("palavra"))
    with pytest.raises(UserError, match="the sheet cannot show all of this text"):
        correction_files.read(fill_in(tmp_path / "long", "xlsx", {"a": {"corrected": f"Uma {shown}"}}), "pt")


def test_the_interval_is_wilsons():
    """The examples of Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    for count, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert verdicts.wilson(count, of) == pytest.approx((low, high), abs=5e-5)


def test_the_card_tells_the_share_of_wrong_translations_and_that_few_are_judged(tmp_path):
    messages = [message(f"m{at}", source_lang="es" if at % 4 == 0 else "en") for at in range(60)]
    for judged, enough in ((20, False), (48, True)):
        answers = {f"m{at}": {"verdict": "good" if at % 3 else "wrong"} for at in range(judged)}
        applied, tables = reviewed(tmp_path, messages, answers)
        account = corrections.account(tables, applied, 200, 1)
        assert account["sample"]["total"]["n"] == judged and set(account["sample"]["by_source"]) == {"en", "es"}
        assert account["sample"]["total"]["wrong"]["value"] == pytest.approx(-(-judged // 3) / judged, abs=1e-4)
        quality = quality_report.report([corrected(applied, tables)], "pt", corrections=account)
        counts = {
            "train": {code: {"messages": n, "excluded_because": {}} for code, n in (("en", 45), ("es", 15))},
            "validation": {},
        }
        _, counted = combined([corrected(applied, tables)])
        accounting = combine.account(counts, counted)
        card = dataset_card("pt", "Portuguese", [("o/d", "cc0-1.0")], accounting, dict(counted.models), quality, {})
        assert ("fewer than 30, too few to say much" in card) != enough
        assert f"| all | {judged} | 6" in card and "| from es |" in card and "| by m |" in card


def judge(tables, judged, sample, flagged):
    """A person judges a whole sheet: what was flagged is wrong, the rest is good."""
    truth = {
        row["message_id"]: "wrong" if row["status"] == "flagged" else "good"
        for table in tables
        for row in table.to_pylist()
    }
    keys = {one.key for one in judged}
    items = review.choose(tables, "pt", sample, flagged, 1, keys)
    return [
        *judged,
        *(Correction(item.key, item.message_id, None, truth[item.message_id], "", "", None, "x") for item in items),
    ]


def wrong_share(tables, judged, sample):
    applied = corrections.apply(tables, "pt", judged)
    return corrections.account(tables, applied, sample, 1)["sample"]["total"]


def test_the_share_of_wrong_translations_is_that_of_the_messages_and_not_of_the_sheets():
    """Every fifth is wrong and flagged, so the sheets have far more of them."""
    tables = [shard(*(message(f"m{at}", status="translated" if at % 5 else "flagged") for at in range(400)))]
    judged = judge(tables, [], 50, 200)
    first = wrong_share(tables, judged, 50)
    assert 45 <= first["n"] <= 50 and first["wrong"]["low"] < 0.2 < first["wrong"]["high"]
    # The sample grows: at first only its flagged messages are judged, then all.
    assert wrong_share(tables, judged, 300)["n"] <= 60
    judged = judge(tables, judged, 300, 200)
    second = wrong_share(tables, judged, 300)
    assert 290 <= second["n"] <= 300 and second["wrong"]["value"] == pytest.approx(0.2, abs=0.04)
    # A language comes in that the first sheet did not have, and all of it is wrong.
    more = shard(*(message(f"d{at}", status="flagged", source_lang="de") for at in range(400)))
    judged = judge([*tables, more], judged, 300, 400)
    third = wrong_share([*tables, more], judged, 300)
    assert third["wrong"]["value"] == pytest.approx(0.6, abs=0.06)


def given(text=None, verdict=None, where="a.csv row 2", key="k", **more):
    return Correction(key, "a", text, verdict, more.get("reviewer", ""), "", more.get("shown"), where)


def test_corrections_of_several_people_are_put_together_or_refused():
    key = review.key_of("pt", "a", "Hello.", "Olá.")
    tables = [shard(message("a"))]
    both = [given(verdict="wrong", reviewer="Ana", key=key), given("Oi!", reviewer="Rui", key=key)]
    for order in (both, both[::-1]):
        assert corrected(corrections.apply(tables, "pt", order), tables)["reasons"].to_pylist() == [["corrected: Rui"]]
    with pytest.raises(
        UserError, match=r"a.csv row 2 and b.csv row 3: two corrections of message a differ in their verdict"
    ):
        corrections.apply(tables, "pt", [given(verdict="good", key=key), given("Oi!", key=key, where="b.csv row 3")])


@pytest.mark.parametrize(
    ("row", "one", "reason"),
    [
        ({}, {"verdict": "wrong", "shown": "Oi!"}, "the translation beside it was edited"),
        ({}, {"text": "Oi!", "shown": " Olá.\n"}, None),
        ({"status": "failed", "reasons": ["no route"]}, {"verdict": "good"}, "there is no translation to judge"),
    ],
)
def test_what_cannot_be_meant_is_refused(row, one, reason):
    table = shard(message("a", **row))
    text = table["text"].to_pylist()[0]
    applied = corrections.apply([table], "pt", [given(key=review.key_of("pt", "a", "Hello.", text), **one)])
    assert [why.startswith(reason) for _, why in applied.refused] == ([True] if reason else [])
    assert len(applied.in_force) == (not reason)


def test_a_row_with_the_key_of_another_is_refused():
    tables = [shard(message("a"), message("b", text="Alô."))]
    applied = corrections.apply(tables, "pt", [given("Oi!", key=review.key_of("pt", "b", "Hello.", "Alô."))])
    assert "its key is of another message" in applied.refused[0][1] and not applied.in_force


@pytest.mark.parametrize("form", FORMS)
def test_white_space_and_marks_of_direction_come_through(tmp_path, form):
    messages = [message("a", text="x = 1\n"), message("b", text="שלום\u200f 2024\u200e")]
    applied, tables = reviewed(
        tmp_path, messages, {"a": {"corrected": "    x = 1\n"}, "b": {"corrected": "שלום\u200f 2024\u200e!"}}, form
    )
    assert corrected(applied, tables)["text"].to_pylist() == ["    x = 1\n", "שלום\u200f 2024\u200e!"]


def test_what_a_workbook_cannot_hold_is_corrected_elsewhere(tmp_path):
    items = review.choose([shard(message("a", text="x\ufffey\x0bz"))], "pt", 9, 9, 1)
    paths = fill_in(sheets(tmp_path / "s", items), "xlsx", {"a": {"corrected": "xyz"}})
    with pytest.raises(
        UserError, match=r"sample.xlsx row 2: the sheet cannot show all of this text; correct it in the CSV file"
    ):
        correction_files.read(paths, "pt")


@pytest.mark.parametrize("value", [7, 1.5, True, datetime.date(2026, 1, 2), "=A1", "#NAME?"])
def test_a_cell_that_is_no_text_is_not_taken_for_one(tmp_path, value):
    folder = sheets(tmp_path / "s", review.choose([shard(message("a"))], "pt", 9, 9, 1))
    book = load_workbook(folder / "sample.xlsx")
    cell = book["review"].cell(2, 1 + review_sheets.COLUMNS.index("corrected"))
    cell.number_format, cell.value = "General", value
    if value == "#NAME?":
        cell.data_type = "e"
    book.save(folder / "sample.xlsx")
    with pytest.raises(
        UserError, match="row 2: corrected is not a text but a number, date or formula; format it as text"
    ):
        correction_files.read([folder / "sample.xlsx"], "pt")


def test_every_sheet_of_a_workbook_is_read(tmp_path):
    folder = sheets(tmp_path / "s", review.choose([shard(message("a"))], "pt", 9, 9, 1))
    book = load_workbook(folder / "sample.xlsx")
    book.copy_worksheet(book["review"]).title = "review Rui"
    book["review Rui"].cell(2, 1 + review_sheets.COLUMNS.index("verdict")).value = "good"
    book.save(folder / "sample.xlsx")
    (one,) = correction_files.read([folder / "sample.xlsx"], "pt")
    assert one.where.endswith("sheet 'review Rui' row 2")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "a.csv",
            f"verdict,key,message_id,corrected\ngood,pt:{'0' * 20},m,Olá, mundo\n",
            "row 2: more cells than columns",
        ),
        ("a.csv", "verdict,key,message_id,corrected,corrected\n", "column 'corrected' is there twice"),
        (
            "a.json",
            '[{"data": {"key": "k", "message_id": "m"}, "annotations": 5}]',
            "task 1: not a task of a review sheet",
        ),
        ("a.json", '[{"data": {"key": "k", "message_id": "m"}, "annotations": [{"result": 5}]}]', "task 1: not a task"),
        ("a.json", '[{"key": "k", "message_id": "m", "corrected": {"text": {"a": 1}}}]', "task 1: not a task"),
    ],
)
def test_what_would_lose_a_correction_is_said(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=expected):
        correction_files.read([tmp_path / name], "pt")


def test_a_comment_alone_makes_a_sheet_one_that_is_filled_in(tmp_path):
    paths = fill_in(
        sheets(tmp_path / "s", review.choose([shard(message("a"))], "pt", 9, 9, 1)), "xlsx", {"a": {"comment": "hm"}}
    )
    assert list(correction_files.filled_in(paths)) == [f"{paths[0]} row 2"] and correction_files.read(paths, "pt") == []


def test_the_name_of_a_reviewer_is_no_category():
    name = "Ana: cured: names\x1b[31m " + "x" * 500
    assert reasons.kind_of(f"corrected: {name}", "corrected") == ("notes", "corrected")
    assert reasons.kind_of("approved: cured: names", "translated")[0] == "notes"
    assert reasons.kind_of("pivot: translated from: de", "flagged")[0] == "notes"
