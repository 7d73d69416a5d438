"""Tests of segments in another language than the source: they are kept unchanged, and the message's reasons say so."""

from dataclasses import replace
from itertools import permutations

import pytest
from paths import SHARED
from translators import translated, translator

from mothertongue.translation import foreign, segments
from mothertongue.translation.messages import translate_messages

PORTUGUESE = "O gato está em cima da mesa e não quer descer de lá."
GERMAN = "Ich möchte wissen, wie das Wetter morgen in Berlin wird."


def upper(texts):
    return [text.upper() for text in texts]


@pytest.mark.parametrize(
    ("text", "expected", "status", "reasons"),
    [
        (PORTUGUESE, PORTUGUESE, "copied", ["kept: pt"]),
        (f"Olá, tudo bem? {PORTUGUESE}", f"Olá, tudo bem? {PORTUGUESE}", "copied", ["kept: pt"]),
        (GERMAN, GERMAN, "flagged", ["kept: de"]),
        (f"What does this sentence mean, and how do you say it? And who would say it so?\n\n{GERMAN}",
         f"WHAT DOES THIS SENTENCE MEAN, AND HOW DO YOU SAY IT? AND WHO WOULD SAY IT SO?\n\n{GERMAN}", "translated", ["kept: de"]),
        (f"It is this:\n{GERMAN}\n{GERMAN}\nYes.", None, "flagged", ["kept: de"]),
    ],
)  # fmt: skip
def test_segments_in_another_language_are_kept(text, expected, status, reasons):
    (result,) = translated([text], upper)
    assert expected is None or result.text == expected
    assert (result.status, result.reasons) == (status, reasons)


def test_a_target_that_the_identifier_does_not_know_is_never_taken_for_found():
    (result,) = translated([GERMAN], upper, target="ha")
    assert (result.text, result.status, result.reasons) == (GERMAN, "flagged", ["kept: de"])


@pytest.mark.parametrize(
    ("text", "target", "found"),
    [
        ("Necesito una lista de ideas para una fiesta.", "pt", "es"), ("Necesito una lista de ideas para una fiesta.", "es", "es"),
        ("Escribe una lista de ideas para una fiesta de cumpleaños.", "pt", "es"), (PORTUGUESE, "gl", "pt"), (PORTUGUESE, "pt", "pt"),
        ("Jeg kan ikke finde min bog, men jeg har en anden.", "nb", "da"), ("Jeg kan ikke finde min bog, men jeg har en anden.", "da", "da"),
        ("今天天气非常好，我们一起去公园散步吧，然后再去图书馆看书。", "zh-Hant", "zh"),
        ("今天天氣非常好，我們一起去公園散步吧，然後再去圖書館看書。", "zh-Hant", "zh-Hant"),
    ],
)  # fmt: skip
def test_a_related_language_or_script_is_not_taken_for_the_target(text, target, found):
    (result,) = translated([text], upper, target=target)
    status = "copied" if found == target else "flagged"
    assert (result.text, result.status, result.reasons) == (text, status, [f"kept: {found}"])


LONG = (
    "A minha avó disse-me ontem que o gato dela está em cima da mesa da cozinha e não quer descer de lá por nada deste mundo,"
    " nem mesmo quando lhe dão o peixe de que ele mais gosta."
)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("quoted", [LONG, f"{LONG} {PORTUGUESE}", GERMAN], ids=["long", "two", "short"])
@pytest.mark.parametrize("own", ["Translate it for me into German.", "How would people in Vienna say it, and when?"])
def test_what_stands_beside_a_quotation_in_its_line_is_translated(lines, quoted, own):
    """Also where the quotation is most of the message, and where a chat model reads the line as a whole."""
    reading = replace(translator(upper), lines=lines, limit=4000)
    for text, expected in (
        (f"{quoted} {own}", f"{quoted} {own.upper()}"),
        (f"{own} {quoted}", f"{own.upper()} {quoted}"),
    ):
        (result,) = translate_messages([text], reading)
        assert result.text == expected
        assert f"kept: {'de' if quoted is GERMAN else 'pt'}" in result.reasons


@pytest.mark.parametrize("lines", [False, True])
def test_a_long_sentence_is_kept_only_where_all_of_it_is_in_another_language(lines):
    reading = replace(translator(upper), lines=lines, limit=4000)
    own = "which is what they say at home, and I do not know what my grandmother wanted to tell me about her cat"
    whole, mixed = translate_messages([LONG, f"{LONG[:-1]}, {own}, {own}"], reading)
    assert (whole.text, whole.reasons) == (LONG, ["kept: pt"])
    assert mixed.text == f"{LONG[:-1]}, {own}, {own}".upper()


READ = "Eu gostaria de saber como vai estar o tempo amanhã em Berlim."


def reading_german(translate, **languages):
    third = {"de": lambda: translator(lambda texts: [READ for _ in texts], source="de")}
    return replace(translator(translate, **languages), thirds=third)


def test_a_message_in_a_third_language_is_translated_by_a_model_that_reads_it():
    (alone,) = translate_messages([GERMAN], reading_german(upper))
    assert (alone.status, alone.text, alone.reasons) == ("translated", READ, ["translated from: de"])
    (own,) = translate_messages([PORTUGUESE], reading_german(upper))
    assert (own.status, own.text, own.reasons) == ("copied", PORTUGUESE, ["kept: pt"])


def test_a_quoted_third_language_stays_although_a_model_reads_it():
    english = "What does this sentence mean, and who would say it so? And how does one answer to it, please?"
    (mixed,) = translate_messages([f"{english}\n\n{GERMAN}"], reading_german(upper))
    assert (mixed.text, mixed.reasons) == (f"{english.upper()}\n\n{GERMAN}", ["kept: de"])


def test_a_sentence_beside_a_third_language_is_checked_as_one_of_the_source():
    """Read as German, an untranslated Spanish sentence would pass for a quotation."""
    spanish = "Traduce este texto al portugués, por favor, y explica la gramática:"
    copying = reading_german(lambda texts: texts, source="es")
    (found,) = translate_messages([f"{spanish}\n\n{GERMAN} {GERMAN}"], copying)
    assert found.status == "flagged" and "untranslated" in found.reasons and "translated from: de" in found.reasons


FLORES = SHARED / "flores"


@pytest.mark.skipif(not FLORES.is_dir(), reason="no FLORES beside the project")
@pytest.mark.parametrize("lang", ["en", "pt", "es", "nl", "de"])
def test_no_sentence_is_mistaken_for_another_language(lang):
    target = "pt" if lang != "pt" else "en"
    texts = (FLORES / f"devtest300.{lang}").read_text(encoding="utf-8").splitlines()
    kept = [text for text in texts if foreign.separate(segments.split(text, lang), lang, target).kept]
    assert kept == []
    others = [text for text in texts if foreign.separate(segments.split(text, "fr"), "fr", target).kept]
    # Measured: 271 to 297 of 300; a sentence whose language is uncertain is translated.
    assert len(others) > 0.88 * len(texts)


@pytest.mark.skipif(not FLORES.is_dir(), reason="no FLORES beside the project")
@pytest.mark.parametrize(("lang", "target"), permutations(["en", "pt", "es", "nl", "de"], 2))
def test_no_sentence_is_kept_as_one_of_a_related_target(lang, target):
    for text in (FLORES / f"devtest300.{lang}").read_text(encoding="utf-8").splitlines():
        assert set(foreign.separate(segments.split(text, "fr"), "fr", target).kept) <= {lang}
