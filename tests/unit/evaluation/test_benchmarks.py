"""Tests of the tables of benchmarks: what is chosen for a language, and how it is listed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mothertongue.common.languages import read_languages
from mothertongue.evaluation import benchmarks
from mothertongue.evaluation.benchmarks import Benchmark

KNOWN = benchmarks.read(Path("config").joinpath)


def one(task, language="xx", origin="native", english=None):
    return Benchmark(language, task, origin, 100, "cc-by-4.0", "me/mine", "something", english)


def test_the_tables_know_their_languages_and_origins():
    assert {benchmark.language for benchmark in KNOWN} <= set(read_languages(Path("config/languages.tsv")))
    assert {benchmark.origin for benchmark in KNOWN} == set(benchmarks.ORIGINS)
    pairs = [(benchmark.language, benchmark.task) for benchmark in KNOWN]
    assert len(pairs) == len(set(pairs))
    partners = {benchmark.english for benchmark in KNOWN if benchmark.english}
    assert partners == {benchmark.task for benchmark in KNOWN if benchmark.language == "en"} & partners


def test_benchmarks_of_people_come_with_their_english_partners_and_without_those_of_machines():
    known = [
        one("m", origin="machine"),
        one("b", origin="human", english="b-en"),
        one("a", english="a-en"),
        one("c-en", "en"),
        one("b-en", "en", "human"),
        one("a-en", "en"),
        one("other", "yy"),
    ]
    assert [found.task for found in benchmarks.chosen(known, "xx")] == ["a", "b", "a-en", "b-en"]
    assert [found.task for found in benchmarks.chosen(known[:1], "xx")] == ["m"]
    assert benchmarks.chosen(known, "zz") == []


def test_dutch_has_native_and_translated_ones():
    tasks = [found.task for found in benchmarks.chosen(KNOWN, "nl")]
    assert tasks[:4] == [
        "multiblimp_nld",
        "global_piqa_nonparallel_cloze_nld_latn",
        "include_base_44_dutch",
        "belebele_nld_Latn",
    ]
    assert "belebele_eng_Latn" in tasks and "arc_nl" not in tasks


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("nl", r"\* *belebele_nld_Latn +900 +translated by people +cc-by-sa-4.0"),
        ("nl", r"\n +arc_nl +machine-translated +cc-by-nc-4.0"),
        ("eo", "^$"),
    ],
)
def test_the_program_lists_them(lang, expected):
    done = subprocess.run([sys.executable, "scripts/benchmarks.py", lang], capture_output=True, text=True)
    assert re.search(expected, done.stdout)
    assert done.returncode == (lang == "eo") and ("no benchmark in Esperanto" in done.stderr) == (lang == "eo")
