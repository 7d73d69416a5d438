"""Tests of corrections with the real Snakemake: review sheets, and the outputs that a correction makes stale.

The tests of this file build on one another.
"""

import csv
import json
import shutil

import pyarrow.parquet as pq

SHEET = "results/demo/pt/review/sample.csv"
CORRECTIONS = "config/corrections/pt"


def rows(project):
    with (project.root / SHEET).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill_in(project, answers):
    """Fill in the generated sheet in place, with the columns to change by message."""
    filled = [row | answers.get(row["message_id"], {}) for row in rows(project)]
    with (project.root / SHEET).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, filled[0].keys())
        writer.writeheader()
        writer.writerows(filled)


def dataset(project):
    tables = [
        pq.read_table(project.root / f"results/demo/pt/dataset/{split}.parquet") for split in ("train", "validation")
    ]
    return {row["message_id"]: row for table in tables for row in table.to_pylist()}


def test_a_sheet_is_made_without_rebuilding_anything(built):
    built.configure(review={"sample": 12, "flagged": 3})
    assert built.build(SHEET).jobs == {"review": 1}
    assert {path.name for path in (built.root / SHEET).parent.iterdir()} == {
        "sample.xlsx",
        "sample.csv",
        "sample.json",
        "labels.xml",
    }
    assert [row["why"] for row in rows(built)].count("random sample") == 12


def test_a_sheet_filled_in_in_place_is_not_overwritten(built):
    first, second = (row["message_id"] for row in rows(built)[:2])
    fill_in(built, {first: {"corrected": "Eu corrigi isto.", "reviewer": "Ana"}, second: {"verdict": "good"}})
    content = (built.root / SHEET).read_bytes()
    run = built.run(SHEET, "--forcerun", "review")
    assert run.code != 0 and "sample.csv row 2 is filled in; move the file to config/corrections/pt/" in run.output
    assert (built.root / SHEET).read_bytes() == content
    # What was refused is still to do: the sheets that are there are of before.
    beside = "results/demo/pt/review/sample.xlsx"
    assert "rule review:" in built.build("-n", beside).output
    assert built.run(beside).code != 0 and (built.root / SHEET).read_bytes() == content
    # A dry run of something else does not mind.
    assert "Nothing to be done" in built.build("-n", "results/demo/pt/dataset/train.parquet").output


def test_a_correction_rebuilds_only_what_depends_on_it(built):
    translated = built.bytes("results/demo/pt/translated/**/*.parquet")
    first = next(row for row in rows(built) if row["corrected"])
    (built.root / CORRECTIONS).mkdir(parents=True)
    shutil.move(built.root / SHEET, built.root / CORRECTIONS / "ana.csv")
    assert built.build().jobs == {"combine": 1, "threads": 2, "tune": 1, "evaluate": 1}
    assert built.bytes("results/demo/pt/translated/**/*.parquet") == translated
    row = dataset(built)[first["message_id"]]
    assert (row["text"], row["status"], row["reasons"]) == ("Eu corrigi isto.", "corrected", ["corrected: Ana"])
    assert built.accounting()["total"]["status"]["corrected"] == 1
    judged = json.loads((built.root / "results/demo/pt/dataset/quality.json").read_text())["corrections"]["sample"][
        "total"
    ]
    assert (judged["n"], judged["good"]["value"], judged["wrong"]["value"]) == (2, 0.5, 0.5)
    assert "fewer than 30, too few" in (built.root / "results/demo/pt/dataset/README.md").read_text()
    assert built.build().jobs == {}


def test_the_next_sheet_contains_only_unjudged_messages(built):
    before = {
        row["message_id"]
        for row in json.loads((built.root / "results/demo/pt/review/sample.json").read_text())
        for row in [row["data"]]
    }
    assert built.build(SHEET).jobs == {"review": 1}
    after = {row["message_id"] for row in rows(built)}
    assert len(before - after) == 2 and after < before


def test_a_correction_of_a_changed_message_is_refused_and_listed_again(built):
    corrected = next(row for row in dataset(built).values() if row["status"] == "corrected")
    messages = built.read_messages()
    message = next(row for row in messages if row["message_id"] == corrected["message_id"])
    message["text"] += " And one more sentence was written here."
    built.write_messages(messages)
    run = built.build("results/demo/pt/dataset/train.parquet")
    assert run.jobs == {"fetch": 1, "split": 1, "translate": 1, "combine": 1}
    assert "correction not applied: config/corrections/pt/ana.csv row 2" in run.output
    assert dataset(built)[message["message_id"]]["status"] != "corrected"
    assert built.build(SHEET).jobs == {"review": 1}
    (again,) = [row for row in rows(built) if row["earlier"]]
    assert (again["message_id"], again["earlier"]) == (message["message_id"], "Eu corrigi isto.")


def test_contradictory_corrections_stop_the_build_with_one_line(built):
    ana = (built.root / CORRECTIONS / "ana.csv").read_text(encoding="utf-8-sig")
    (built.root / CORRECTIONS / "rui.csv").write_text(
        ana.replace("Eu corrigi isto.", "Corrigi-o eu."), encoding="utf-8"
    )
    run = built.run("results/demo/pt/dataset/train.parquet")
    assert run.code != 0 and "two corrections of message" in run.output and "no correction was applied" in run.output
    (built.root / CORRECTIONS / "rui.csv").rename(built.root / CORRECTIONS / "rui.ods")
    run = built.run("results/demo/pt/dataset/train.parquet")
    assert run.code != 0 and run.output.strip().endswith(
        "rui.ods: corrections are read from .xlsx, .csv, .json; save it as one of these"
    )
