"""Tests of glossaries: terms are translated as in the table, or the message is flagged."""

import re
import time

import pytest
from translators import translator, way

from mothertongue.common.errors import UserError
from mothertongue.common.languages import UNSPACED
from mothertongue.translation import glossary
from mothertongue.translation.checks import Checks
from mothertongue.translation.messages import Translator, translate_messages
from mothertongue.translation.settings import QualityLimits

TABLE = "term\ttranslation\tsource\toptions\nfine-tuning\tajuste fino\t\t\nprompt\tpergunta\t\t\nthread\tfio\t\texact\nSwift\t=\t\t\nIT\tTI\t\tcase\nmachine learning\taprendizado de máquina\t\t\nmachine\tmáquina\t\t\nperro\tcão\tes\t\n"


@pytest.fixture
def terms(tmp_path):
    (tmp_path / "pt.tsv").write_text(TABLE, encoding="utf-8")
    return glossary.read(tmp_path / "pt.tsv", "en", "pt")


def translated(text, model, terms, lang="en"):
    plain = translator(way(model))
    checks = Checks(lang, "pt", QualityLimits(), None, terms)
    (found,) = translate_messages([text], Translator(plain.strategies, checks, plain.limit, plain.measure))
    return found


def copies(texts):
    """Simulate a model that copies all words except `The`."""
    return [text.replace("The", "O") for text in texts]


def test_a_term_that_the_model_translates_correctly_is_not_replaced(terms):
    asked = []

    def model(texts):
        asked.extend(texts)
        return ["As perguntas são curtas." for _ in texts]

    assert translated("The prompts are short.", model, terms).text == "As perguntas são curtas."
    assert asked == ["The prompts are short."]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("The fine-tuning took a day.", "O ajuste fino took a day."),
        ("I wrote it in Swift yesterday.", "I wrote it in Swift yesterday."),
        ("The machine learning and the machine.", "O aprendizado de máquina and the máquina."),
        ("The IT of it is here.", "O TI of it is here."),
        ("The thread and a second thread.", "O fio and a second fio."),
        ("The Prompt is `prompt` in code.", "O Pergunta is `prompt` in code."),
        ("prompt", "pergunta"),
        ("The prompt-5 is longer.", "O pergunta-5 is longer."),
    ],
)
def test_a_missing_term_is_replaced_by_that_of_the_table(terms, source, expected):
    found = translated(source, copies, terms)
    assert found.text == expected and "glossary" not in found.reasons
    assert ("cured: glossary" in found.reasons) == ("Swift" not in source)


def test_a_sentence_with_a_lost_placeholder_is_translated_in_pieces(terms):
    def forgetful(texts):
        return [re.sub(r"XQ\d+", "", text) for text in texts]

    found = translated("The fine-tuning took a day.", forgetful, terms)
    assert found.text == "The ajuste fino took a day."


def test_an_inflected_term_is_checked_but_not_replaced(terms):
    found = translated(
        "Two machines stand in the hall.", lambda texts: ["Dois aparelhos estão na sala." for _ in texts], terms
    )
    assert (found.text, found.status, found.reasons) == ("Dois aparelhos estão na sala.", "flagged", ["glossary"])
    found = translated(
        "Two machines stand in the hall.", lambda texts: ["Duas máquinas estão na sala." for _ in texts], terms
    )
    assert (found.status, found.reasons) == ("translated", [])


def test_the_options_case_and_exact_are_respected(terms):
    assert terms.find("It is fine.", "Está bem.") == []
    assert terms.find("Two threads and rethread.", "") == []
    assert [one.term.source for one in terms.find("Swift, and swift birds.", "Swift")] == ["Swift"]


def terms_of(*pairs, source="en", target="pt", **options):
    spaced = source not in UNSPACED, target not in UNSPACED
    return glossary.Glossary([glossary.Term(one, other, spaced=spaced, **options) for one, other in pairs])


@pytest.mark.parametrize(
    ("terms", "source", "translation", "hits"),
    [
        (terms_of(("thread", "fio"), exact=True), "The thread is long.", "O desafio é longo.", [False]),
        (terms_of(("Go", "Go"), exact=True, case=True), "Go is a language.", "Google é uma linguagem.", [False]),
        (terms_of(("IT", "TI"), case=True), "The IT is here.", "O PARTIDO está aqui.", [False]),
        (terms_of(("artificial intelligence", "人工智能"), target="zh"), "It is artificial intelligence.", "人工智障", [False]),
        (terms_of(("artificial intelligence", "人工智能"), target="zh"), "It is artificial intelligence.", "这是人工智能。", [True]),
        (terms_of(("language model", "भाषा मॉडल"), target="hi"), "A language model is good.", "भाषा मॉडल अच्छा है।", [True]),
        (terms_of((".NET", "ponto net"), ("C++", "C mais")), "We use .NET and C++ here.", "Usamos ponto net e C aqui.", [True, False]),
        (terms_of(("machine", "máquina"), ("machine learning", "aprendizado de máquina")),
         "The machine learning and the machine.", "O aprendizado de máquina e o aparelho.", [True, False]),
        (terms_of(("coffee", "café")), "A coffee, please.", "Um cafe\u0301, por favor.", [True]),
        (terms_of(("data set", "conjunto de dados"), ("data", "dados")), "Data sets and data.", "Conjuntos de dados e dados.", [True, True]),
    ],
)  # fmt: skip
def test_a_hit_is_a_whole_word(terms, source, translation, hits):
    assert [one.hit for one in terms.find(source, translation)] == hits


def test_the_cost_grows_with_the_text_not_with_the_table():
    few = terms_of(("prompt", "pergunta"))
    many = terms_of(*[(f"data {word}{at}", "x") for at in range(2000) for word in ("b", "c")], ("prompt", "pergunta"))
    text, translation = "prompt and data " * 2000, "pergunta e dados " * 2000
    started = time.process_time()
    assert len(few.find(text[:8000], translation[:8500])) == 500
    small = time.process_time() - started
    started = time.process_time()
    assert len(many.find(text, translation)) == 2000
    assert time.process_time() - started < 100 * small + 1


def test_a_replacement_is_capitalised_like_the_term(terms):
    found = {one.term.source: one.replacement for one in terms.find("Prompt, PROMPT, prompts, and a Thread.", "")}
    assert found == {"prompt": None, "thread": "Fio"}
    assert [one.replacement for one in terms.find("Prompt, PROMPT", "")] == ["Pergunta", "PERGUNTA"]


def test_terms_can_be_limited_to_a_source_language(tmp_path, terms):
    assert [term.source for term in glossary.read(tmp_path / "pt.tsv", "es", "pt").terms] == ["perro"]
    assert "perro" not in [term.source for term in terms.terms]


def test_terms_are_found_in_a_language_without_spaces(tmp_path):
    (tmp_path / "pt.tsv").write_text(
        "term\ttranslation\tsource\n机器学习\taprendizado de máquina\tzh\n", encoding="utf-8"
    )
    terms = glossary.read(tmp_path / "pt.tsv", "zh", "pt")
    (found,) = terms.find("我喜欢机器学习。", "Gosto de aprendizado de máquina.")
    assert found.hit and found.span == (3, 7)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("term\ttranslation\na\t\n", "pt.tsv row 1: a term and its translation are needed"),
        ("term\ttranslation\na\tb\na\tc\n", "row 2: the term 'a' is there twice"),
        ("term\ttranslation\toptions\na\tb\tloud\n", "row 1: unknown option 'loud'"),
        ("term,translation\na,b\n", "unknown column 'term,translation'"),
    ],
)
def test_an_invalid_table_is_reported_in_one_line(tmp_path, table, expected):
    (tmp_path / "pt.tsv").write_text(table)
    with pytest.raises(UserError, match=re.escape(expected)):
        glossary.read(tmp_path / "pt.tsv", "en", "pt")
    (tmp_path / "pt.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not a readable table"):
        glossary.read(tmp_path / "pt.tsv", "en", "pt")
