"""Tests of translating messages: for any behaviour of the engine, each message gets a status and its reasons."""

import random
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from translators import translated, translator, way

from mothertongue.common.errors import UserError
from mothertongue.formats.messages import MESSAGES, STATUSES, TRANSLATED, MessageFiles, read, write
from mothertongue.translation import cli, shards
from mothertongue.translation.attempts import ask
from mothertongue.translation.checks import Checks, Estimate
from mothertongue.translation.engines.base import Output
from mothertongue.translation.messages import translate_messages
from mothertongue.translation.settings import QualityLimits

SENTENCES = [
    "The house is red.",
    "Thank you very much!",
    "`code` only",
    "http://example.org",
    "",
    "Two words. Three words.",
]
PORTUGUESE = {
    "The house is red.": "A casa é vermelha.",
    "Thank you very much!": "Muito obrigado!",
    "Two words.": "Duas palavras.",
    "Three words.": "Três palavras.",
}


def portuguese(texts):
    return [PORTUGUESE.get(text, f"O texto {text}") for text in texts]


def upper(texts):
    return [text.upper() for text in texts]


def one_too_few(texts):
    return portuguese(texts)[:-1]


def raising(texts):
    raise ValueError("no such word")


def raising_at_thanks(texts):
    if any("Thank" in text for text in texts):
        raise ValueError("too polite")
    return portuguese(texts)


def shard(texts, lang="en"):
    rows = [
        {
            "message_id": str(i), "text": text, "role": "prompter", "lang": lang, "message_tree_id": "t", "split": "train",
            "source_lang": lang,
        }
        for i, text in enumerate(texts)
    ]  # fmt: skip
    columns = {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in MESSAGES}
    return pa.table(columns, schema=MESSAGES)


MODELS = {
    "good": portuguese,
    "returns nothing": lambda texts: [""] * len(texts),
    "white space": lambda texts: [" \n"] * len(texts),
    "raises at some": raising_at_thanks,
    "raises when several": lambda texts: raising(texts) if len(texts) > 1 else portuguese(texts),
    "raises": raising,
    "too few": one_too_few,
    "too many": lambda texts: [*portuguese(texts), "X"],
    "loops": lambda texts: ["não " * 50 for _ in texts],
    "copies": lambda texts: texts,
    "cut short": lambda texts: [Output("A casa é", -0.5, complete=False) for _ in texts],
    "unsure": lambda texts: [Output("A casa é vermelha", -9.0) for _ in texts],
}


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None)
@given(texts=st.lists(st.sampled_from(SENTENCES) | st.text(max_size=60), max_size=12))
def test_every_message_is_returned_with_a_status(name, texts):
    table = shards.translate(
        shard([text.replace("\ud800", "") for text in texts]), "pt", translator(MODELS[name]), "direct"
    )
    assert table["message_id"].to_pylist() == [str(i) for i in range(len(texts))]
    for row in table.to_pylist():
        assert row["status"] in STATUSES
        assert (row["text"] is None) == (row["status"] == "failed")
        assert bool(row["reasons"]) or row["status"] in ("translated", "copied")
        kept = any(reason.startswith("kept: ") for reason in row["reasons"])
        assert (row["model"] is None) <= (row["status"] == "copied" or kept)


def test_only_the_failing_segments_are_lost():
    (whole, part) = translated(["Thank you very much!", "The house is red. Thank you very much!"], raising_at_thanks)
    assert (whole.text, whole.status, whole.reasons) == (None, "failed", ["engine error"])
    assert part.text == "A casa é vermelha. Thank you very much!"
    assert (part.status, part.reasons) == ("flagged", ["engine error"])


def test_a_broken_engine_ends_the_job():
    with pytest.raises(ValueError, match="no such word"):
        translated([f"Sentence number {word}." for word in "abcdefghijklmnopqrstuvwxyz"], raising)
    with pytest.raises(UserError):
        list(ask(lambda texts: (_ for _ in ()).throw(UserError("no memory")), ["a", "b"]))


@pytest.mark.parametrize(("texts", "alive"), [(1000, 600), (200, 190), (40, 39), (1000, 0)])
def test_an_engine_that_breaks_during_the_job_ends_it(texts, alive):
    """The last texts are not to blame: treated as failures, they would be lost, and the shard never be retried."""
    left = iter(range(alive))

    def dying(some):
        for index, text in enumerate(some):
            if next(left, None) is None:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            yield index, Output(text)

    with pytest.raises(RuntimeError, match="illegal memory access"):
        list(ask(dying, list(map(str, range(texts)))))


def test_texts_translated_before_a_failure_are_not_translated_again():
    asked = []

    def halting(texts):
        asked.append(len(texts))
        for index, text in enumerate(texts):
            if text == "c":
                raise RuntimeError("no c")
            yield index, Output(text.upper())

    found = dict(ask(halting, list("abcd")))
    assert found == {"a": Output("A"), "b": Output("B"), "c": None, "d": Output("D")}
    # All four, then `c` alone, `b` again to check that the engine still works, and `d`.
    assert asked == [4, 1, 1, 1]


def test_a_failed_check_is_retried_with_the_next_strategies():
    careful = {"The house is red.": "A casa é vermelha.", "Thank you very much!": "obrigado " * 5}
    asked = []

    def second(texts):
        asked.append(sorted(texts))
        return [careful[text] for text in texts]

    def loops(texts):
        return ["não " * 10 if text in careful else portuguese([text])[0] for text in texts]

    first, second, third = way(loops, "first"), way(second, "first"), way(portuguese, "second")
    texts = ["The house is red.", "Thank you very much!", "Two words."]
    red, thanks, words = translated(texts, first, second, third)
    assert asked == [sorted(careful)]
    assert (red.text, red.status, red.reasons, red.models) == (
        "A casa é vermelha.", "translated", ["cured: repetition"], ["first"],
    )  # fmt: skip
    assert (thanks.text, thanks.status, thanks.models) == ("Muito obrigado!", "translated", ["second"])
    assert (words.text, words.reasons, words.models) == ("Duas palavras.", [], ["first"])
    # All models that contributed to a message are named.
    (both,) = translated(["Two words. Thank you very much!"], first, second, third)
    assert (both.text, both.models) == ("Duas palavras. Muito obrigado!", ["first", "second"])
    # No strategy succeeds: the first attempt is kept and flagged.
    (flagged,) = translated(["The house is red."], loops, loops)
    assert flagged.text == ("não " * 10).strip() and (flagged.status, flagged.reasons) == ("flagged", ["repetition"])


def test_a_fallback_does_not_get_texts_that_are_too_long_for_it():
    loops = way(lambda texts: ["não " * 10 for _ in texts])
    small = way(lambda texts: pytest.fail("asked"), "small", fits=lambda text: len(text) < 5)
    (result,) = translated(["The house is red."], loops, small)
    assert result.reasons == ["repetition"]


def test_the_score_of_a_message_is_the_length_weighted_mean_of_its_segments():
    scores = {"Two words.": -1.0, "Three words.": -0.4}
    (result,) = translated(["Two words. Three words."], lambda texts: [Output("x" * 10, scores[t]) for t in texts])
    assert result.score == pytest.approx(-0.7)
    (result,) = translated(["Two words."], portuguese)
    assert result.score is None


def test_a_pivot_translation_keeps_the_reasons_of_both_steps():
    texts = ["Muito obrigado!", "`x = 1`", "Um ciclo.", "Nada."]
    english = {"Muito obrigado!": "Thank you very much!", "Um ciclo.": "no " * 6, "Nada.": ""}
    to_english = way(lambda batch: [Output(english[text], -0.2) for text in batch], "a@1")
    pivot = shards.translate(shard(texts, "pt"), "en", translator(to_english, source="pt", target="en"), "direct")
    dutch = {"Thank you very much!": Output("Hartelijk dank!", -0.5)}
    on = way(lambda batch: [dutch.get(text, Output("nee", -0.1)) for text in batch], "b@2")
    rows = shards.translate_pivot(pivot, "nl", translator(on, target="nl")).to_pylist()
    assert [row["message_id"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["source_text"] for row in rows] == texts
    assert [row["status"] for row in rows] == ["translated", "copied", "flagged", "failed"]
    assert [row["text"] for row in rows] == ["Hartelijk dank!", "`x = 1`", "nee", None]
    assert [row["route"] for row in rows] == ["pivot"] * 4
    assert [row["model"] for row in rows] == ["a@1+b@2", None, "a@1+b@2", "a@1"]
    assert rows[2]["reasons"][0] == "pivot: repetition" and rows[3]["reasons"] == ["pivot: empty"]
    assert rows[0]["score"] == pytest.approx(-0.5)


def test_what_the_first_step_of_a_pivot_damaged_stays_flagged_where_the_second_has_nothing_to_translate():
    texts = ["Encontramo-nos amanhã às 12:30 na praça.", "Die Katze sitzt auf der Matte und schläft den ganzen Tag."]
    to_english = way(lambda batch: ["12:30" for _ in batch], "a@1")
    pivot = shards.translate(shard(texts, "pt"), "en", translator(to_english, source="pt", target="en"), "direct")
    assert pivot["status"].to_pylist() == ["flagged", "flagged"]
    rows = shards.translate_pivot(pivot, "de", translator(upper, target="de")).to_pylist()
    assert [(row["text"], row["status"]) for row in rows] == [("12:30", "flagged"), (texts[1], "copied")]


GOOD = "Os gatos dormem quase todo o dia e caçam de noite, quando os ratos saem das suas tocas."
SOURCE = "Cats sleep for most of the day and hunt at night, when the mice come out of their holes."


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (Output(GOOD, -0.3), []),
        (Output("  "), ["empty"]),
        (Output(SOURCE), ["untranslated", "language: en"]),
        (Output("Gatos."), ["length ratio"]),
        (Output("dormem e dormem e dormem e dormem e dormem e dormem e dormem"), ["repetition"]),
        (Output("Os gatos dorosososososososos quase todo o dia e caçam de noite."), ["repetition"]),
        (Output(GOOD, -0.3, complete=False), ["repetition"]),
        (Output("Os gatos dormem, os ratos saem; " * 7), ["repetition"]),
        (Output("Katzen schlafen den größten Teil des Tages und jagen in der Nacht nach Mäusen."), ["language: de"]),
        (Output(GOOD, -2.5), ["score"]),
    ],
)
def test_a_segment_fails_the_expected_checks(output, expected):
    assert list(Checks("en", "pt", QualityLimits()).failures(SOURCE, output)) == expected


@pytest.mark.parametrize(
    ("source", "target", "text", "output", "expected"),
    [
        # Copies in scripts without capitals, and of few letters.
        ("zh", "pt", "你今天过得怎么样？", "你今天过得怎么样？", ["untranslated"]),
        ("zh", "ja", "你今天过得怎么样？", "你今天过得怎么样？", ["untranslated"]),
        ("ja", "en", "今日はいい天気です。", "今日はいい天気です。", ["untranslated"]),
        ("ko", "zh", "오늘 어때요?", "오늘 어때요?", ["untranslated"]),
        ("ar", "pt", "كيف حالك اليوم؟", "كيف حالك اليوم؟", ["untranslated"]),
        ("ar", "fa", "كيف حالك أنت وأسرتك اليوم؟", "كيف حالك أنت وأسرتك اليوم؟", ["untranslated"]),
        ("he", "pt", "מה שלומך היום?", "מה שלומך?", ["untranslated"]),
        ("hi", "en", "आप कैसे हैं?", "आप कैसे हैं?", ["untranslated"]),
        ("en", "ar", "What is the capital of France?", "What is the capital city of France?", ["untranslated"]),
        # A model's slips, and what it left over.
        ("en", "pt", "The cat is an animal.", "O gato é um 动物.", ["script: Hani"]),
        ("en", "pt", "The cat is an animal.", "O gato é um животное.", ["script: Cyrl"]),
        ("zh", "pt", "猫是一种动物。", "O gato é um 动物.", ["script: Hani"]),
        ("en", "ko", "The cat is an animal.", "고양이는 动物 입니다.", ["script: Hani"]),
        ("en", "ar", "It sleeps a lot during the day.", "القطة تنام كثيرا في البيت وهي a lot during the day.", ["script: Latn"]),
        # What stays: quotations, names, symbols, what the source has in a third script.
        ("zh", "pt", "“你好”是什么意思？", "O que significa “你好”?", []),
        ("zh", "en", "谁是（李白）？", "Who is Li Bai (李白)?", []),
        ("en", "pt", "What does 猫 mean?", "O que significa 猫?", []),
        ("en", "pt", "The angle alpha is 5.", "O ângulo α é 5.", []),
        ("en", "zh", "Use Visual Studio Code.", "请使用 Visual Studio Code。", []),
        ("en", "ru", "Read “To Kill a Mockingbird”.", "Прочтите «To kill a mockingbird».", []),
        ("en", "ko", "The [year] is computed.", "해[年]를 계산합니다.", []),
        ("zh", "ja", "东京", "東京", []),
    ],
)  # fmt: skip
def test_a_translation_has_no_letters_that_its_language_is_not_written_in(source, target, text, output, expected):
    assert list(Checks(source, target, QualityLimits()).failures(text, Output(output))) == expected


def test_peculiarities_of_the_source_do_not_fail_a_check():
    checks = Checks("en", "pt", QualityLimits())
    laughter = "Hahahahahahahaha, no no no no no no no!"
    assert list(checks.failures(laughter, Output("Hahahahahahahaha, não não não não não não não!"))) == []
    # A quotation in a third language is kept.
    german = "Die Katze sitzt auf der Matte, und der Hund liegt daneben und schläft den ganzen Tag."
    assert list(checks.failures(german, Output(german))) == []
    # Closely related languages have identical sentences.
    danish = "Jeg kan ikke finde min bog, men jeg har en anden."
    assert list(Checks("nb", "da", QualityLimits()).failures(danish, Output(danish))) == []
    # Names and numbers are copied.
    assert list(checks.failures("Barack Obama, Angela Merkel", Output("Barack Obama, Angela Merkel"))) == []
    # The length of short texts varies.
    assert list(checks.failures("OK.", Output("De acordo, está certo.", -4.0))) == []


@pytest.mark.parametrize(
    ("text", "translation", "expected"),
    [
        ("The way is 24,901 miles.", "O caminho é de 24.901 milhas.", []),
        ("The way is 24,901 miles.", "O caminho é de 24 901 milhas.", []),
        ("The way is 24,901 miles.", "O caminho é de 22.901 milhas.", ["numbers"]),
        ("It was founded in 1237.", "Foi fundada há muito tempo.", ["numbers"]),
        ("It was founded in 1237.", "१२३७.", []),
        ("The 3rd of 12 in the 1990s cost 2,000,000.", "O terceiro de doze nos anos 90 custou 2 milhões.", ["numbers"]),
        ("thank you", "Obrigado por enviar uma viagem.", ["length ratio"]),
        ("Pros:", "Prós: A localização do (a)", ["length ratio", "brackets"]),
        ("Try it.", "Versuchen Sie es einmal.", []),
        ("Miley Cyrus", "Miley Cyrus (em inglês)", ["brackets"]),
        ("「猫」と(犬)", "O gato [gato] e (cão)", ["brackets", "quotes"]),
        ("two | pipes", "dois | ca | nos", ["signs"]),
        ("UN", "Organização das Nações Unidas", []),
        ("Thanks.", "ကျေးဇူးတင်ပါတယ်။", ["script: Mymr"]),
        ("人工智能", "Inteligência artificial", []),
    ],
)
def test_numbers_brackets_and_short_texts_are_checked(text, translation, expected):
    assert list(Checks("en", "pt", QualityLimits()).failures(text, Output(translation))) == expected


LINES = {
    "pt": [GOOD, "A minha avó disse-me ontem que o gato dela não quer descer da mesa da cozinha.",
           "O livro que encontrei na cave fala de uma viagem pelo deserto com quatro camelos.",
           "Se amanhã fizer sol, vamos de bicicleta até à praia e ficamos lá até à noite.",
           "Ninguém sabia por que razão o comboio tinha parado tanto tempo antes da ponte."],
    "en": [SOURCE, "My grandmother told me yesterday that her cat does not want to come down from the table.",
           "The book that I found in the cellar is about a journey through the desert with four camels.",
           "If the sun shines tomorrow, we will cycle to the beach and stay there until night.",
           "Nobody knew the reason for which the train had stopped for so long before the bridge."],
    "de": ["Die Katze sitzt auf der Matte, und der Hund liegt daneben und schläft den ganzen Tag.",
           "Meine Großmutter hat mir gestern gesagt, dass ihre Katze nicht herunterkommen will.",
           "Das Buch aus dem Keller handelt von einer Reise durch die Wüste mit vier Kamelen.",
           "Wenn morgen die Sonne scheint, fahren wir mit dem Rad zum Strand und bleiben bis zur Nacht.",
           "Niemand wusste, warum der Zug so lange vor der Brücke gehalten hatte."],
}  # fmt: skip


@pytest.mark.parametrize(("at", "sentences"), [*((at, True) for at in range(1, 5)), (2, False), (3, False)])
def test_a_line_is_judged_in_all_its_stretches(at, sentences):
    """A chat model translates whole lines, and may stop anywhere; lid.176 reads 160 characters at a time.

    Without ends of sentences less than such a stretch may be missed.
    """

    def line(*texts):
        return " ".join(texts) if sentences else " ".join(text[:-1] for text in texts)

    checks, (pt, en, de) = Checks("en", "pt", QualityLimits()), LINES.values()
    assert list(checks.failures(line(*en), Output(line(*pt)))) == []
    assert list(checks.failures(line(*en), Output(line(*pt[:at], *en[at:])))) == ["language: en"]
    # A quotation in a third language stays, but what is around it is not in that.
    quoting, quoted = line(*en[:at], *de[:2], *en[at:]), line(*pt[:at], *de[:2], *pt[at:])
    assert list(checks.failures(quoting, Output(quoted))) == []
    assert list(checks.failures(quoting, Output(line(*de)))) == ["language: de"]
    # A copy that begins with a quotation is a copy, and that of a quotation alone is none.
    beginning = line(*de[:2], *en)
    assert list(checks.failures(beginning, Output(beginning))) == ["untranslated", "language: en"]
    assert list(checks.failures(line(*de), Output(line(*de)))) == []


def test_the_configured_limits_are_used():
    output = Output(GOOD[:40] + "!", -0.9)
    assert list(Checks("en", "pt", QualityLimits(length_ratio=2.0, score=-0.5)).failures(SOURCE, output)) == [
        "length ratio",
        "score",
    ]


def test_the_order_of_messages_does_not_matter():
    texts = [f"Number {word} is a good number." for word in "abcdefghij"]
    shuffled = random.Random(1).sample(texts, len(texts))
    by_text = dict(zip(texts, translated(texts, portuguese), strict=True))
    assert dict(zip(shuffled, translated(shuffled, portuguese), strict=True)) == by_text


def test_of_two_engines_the_better_translation_of_each_sentence_is_kept():
    """The checks decide first, then the meaning; the message names the engine."""
    first = way(
        lambda texts: ["There are many cats in here." if "cats" in text else "Uma casa velha." for text in texts], "a@1"
    )
    second = way(lambda texts: ["Há muitos gatos aqui." if "cats" in text else "Uma casa." for text in texts], "b@1")
    scores = {
        "Uma casa velha.": 0.9,
        "Uma casa.": 0.7,
        "There are many cats in here.": 0.95,
        "Há muitos gatos aqui.": 0.6,
    }
    estimate = Estimate(lambda pairs: [scores[translation] for _, translation in pairs], 0.5)
    plain = translator(first)
    both = replace(plain, checks=replace(plain.checks, estimate=estimate), fallbacks=[second], both=True)
    cat, house = translate_messages(["There are many cats in here.", "There is an old house."], both)
    assert (cat.text, cat.models, cat.reasons) == ("Há muitos gatos aqui.", ["b@1"], [])
    assert (house.text, house.models, house.meaning) == ("Uma casa velha.", ["a@1"], 0.9)
    # The first messages have decided that the first engine's scores are higher, also where these are not.
    scores["Uma casa velha."] = 0.65
    assert translate_messages(["There is an old house."], both)[0].models == ["a@1"]
    assert translate_messages(["There is an old house."], replace(both, ahead=[]))[0].models == ["b@1"]


@pytest.mark.parametrize("ahead", [0, 1])
def test_the_engine_that_is_behind_on_average_is_kept_where_its_meaning_is_clearly_closer(ahead):
    names = ("Há", "Tem")
    # The scores by number: of the engine that is ahead on average, and of the other.
    scores = {"11": (0.8, 0.9), "12": (0.9, 0.85), "13": (0.95, 0.7), "14": (0.6, 0.75)}

    def engine(name):
        return way(lambda asked: [f"{name} {text.split()[2]} casas velhas." for text in asked], f"{name}@1")

    def score(translation):
        name, number, *_ = translation.split()
        return scores[number][names.index(name) != ahead]

    plain = translator(engine(names[0]))
    checks = replace(plain.checks, estimate=Estimate(lambda pairs: [score(text) for _, text in pairs], 0.5))
    both = replace(plain, checks=checks, fallbacks=[engine(names[1])], both=True)
    found = translate_messages([f"There are {number} old houses." for number in scores], both)
    assert [names.index(one.text.split()[0]) == ahead for one in found] == [True, True, True, False]


def test_a_shard_in_the_other_script_is_converted_and_says_by_what():
    found = shards.convert(shard(["头发", "123", "`x`", "「です」"], lang="zh"), "zh", "zh-Hant")
    assert found["reasons"].to_pylist() == [[], [], [], ["kept: ja"]]
    assert found["text"].to_pylist() == ["頭髮", "123", "`x`", "「です」"] and found["source_text"][0].as_py() == "头发"
    assert found["status"].to_pylist() == ["translated", "copied", "copied", "translated"]
    assert found["model"].to_pylist() == ["opencc", None, None, "opencc"] and found["route"][0].as_py() == "direct"


def test_a_shard_is_translated_in_parts(tmp_path, monkeypatch, capsys):
    texts = [f"Message number {number} is about houses." for number in range(7)]
    write(shard([*texts, ""]), tmp_path / "shard.parquet")
    files, upper = MessageFiles([tmp_path / "shard.parquet"], MESSAGES), translator(lambda some: map(str.upper, some))
    translated = partial(shards.translate, lang="pt", translator=upper, route="direct")
    found = {}
    for size in (1, 3, 8, 1_000):
        monkeypatch.setattr(cli, "_AT_ONCE", size)
        cli.write_translated("translate", files, translated, tmp_path / f"{size}.parquet")
        found[size] = (tmp_path / f"{size}.parquet").read_bytes()
    assert len(set(found.values())) == 1
    rows = read(tmp_path / "3.parquet", TRANSLATED).to_pylist()
    assert [row["text"] for row in rows] == [*map(str.upper, texts), ""]
    said = capsys.readouterr().err
    assert (
        "translate: 3 of 8 messages done" in said and f"translate: 8 messages (7 {rows[0]['status']}, 1 copied)" in said
    )
