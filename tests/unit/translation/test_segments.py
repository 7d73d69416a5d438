"""Tests of splitting into segments: no text is lost, protected spans survive any model, limits hold, time is linear."""

import json
import random
import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import SHARED
from translators import translated

from mothertongue.translation import protected_spans, segments

OASST = SHARED / "oasst/oasst1-en-sample.jsonl"

PIECES = [
    "Hello there.", "How are you? ", "It is 5.30 p.m. now", "word", "a", "word " * 40, "x" * 60, "é" * 30, "!", "。", '"', "'", "“", ":)",
    "这是。那是！", "สวัสดีครับ", "Привет, мир. Как дела?", "क्षि मैं", "e\u0301\u0302", "\u0301", "½", "ª",
    "\n", "\n\n", "\r\n", "\r", "\r\n\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\u2028", "\u2029", "  ", "    ", "\t", "\u00a0", "\u3000",
    "\u200b", "\u200d", "\u200e", "\u202e", "\ufeff", "\x00", "\x07", "\ud800", "\udc00", "\ue000", "\ue0000\ue001", "\U000f0000",
    "- ", "* ", "1. ", "a) ", "> ", ">> ", "## ", " ##", "[ ] ", "[^1]: ", "[^1]", "| a | b |", "|---|---|", "|", "\\|", "**", "**bold** text",
    "`", "``", "```", "~~~", "`x = 1`", "``a ` b``", "`a\nb`", "```python\nprint('hi. There')\n```", "    indented code", "x = foo(1);", "def f(a):",
    "https://example.org/a.b?c=d", "<https://example.org>", "[docs](https://a.org/x_(y))", "[", "](", ")", "(", "help@example.org", "@",
    "$x^2$", "$", "$$", "$$\ny\n$$", "\\(a\\)", "\\(", "\\)", "\\[x^2\\]", "\\[", "\\]", "\\begin{align}", "\\end{align}", "$5 and $10",
    "<b>", "</b>", "<", "<!--", "-->", "<pre>", "</pre>", "&nbsp;", "&", "[INST]", "</s>", "<|im_start|>", "XQ1", "XQ12", "foo_bar(x)", "--flag", "~/a/b",
    "🙂", "👩‍👩‍👧", "👍🏽", "🇧🇷", "🇧", "1️⃣", "m²", "→", "12 + 30 = 42", "5 μm", "½", "C#", "#tag", "{{x}}", "{x}", "~~", "\\*", "\\$5",
    "1、", "•", "①", "(1-3)^2 + 1", "=SUM(A1)", "^a+$", "C:\\Program Files\\x", "http://a.jp/", "pip install x", "SELECT a FROM b;",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=[]), max_size=20), max_size=15).map(
    "".join
)
languages = st.sampled_from(["en", "pt", "zh", "th", "ru", "xx"])
MEASURES = {
    "bytes": segments.byte_length,
    "tokens": lambda text: len(re.findall(r"\w{1,4}|[^\w\s]", text)),
    "words": lambda text: len(text.split()),
}
# Ways in which models change text and placeholders.
MODELS = {
    "upper case": str.upper,
    "swapped case": str.swapcase,
    "letters reversed": lambda text: text[::-1],
    "words reversed": lambda text: " ".join(reversed(text.split())),
    "placeholders dropped": lambda text: re.sub(r"XQ\d+", "", text),
    "placeholders doubled": lambda text: re.sub(r"(XQ\d+)", r"\1 \1", text),
    "placeholders translated": lambda text: text.replace("XQ", "YZ"),
    "placeholders of its own": lambda text: f"XQ1 {text} XQ2 \ue0000\ue001",
    "other words": lambda text: "nada",
}


@given(texts, languages)
def test_splitting_loses_no_text(text, lang):
    assert "".join(part.text for part in segments.split(text, lang)) == text


@given(texts, languages, st.integers(1, 200), st.sampled_from(sorted(MEASURES)))
def test_no_segment_exceeds_the_limit(text, lang, limit, measure):
    measure = MEASURES[measure]
    for part in segments.split(text, lang, limit, measure):
        if part.translate:
            assert measure(part.text) <= limit and measure(part.masked) <= limit
            assert segments.has_words(part.text) and part.text == part.text.strip()
            assert part.masked.encode()  # no lone surrogate


@given(texts, languages, st.integers(1, 200))
def test_every_protected_span_is_inside_one_part(text, lang, limit):
    position, kept = 0, []
    for part in segments.split(text, lang, limit):
        spans = part.spans if part.translate else [(0, len(part.text))]
        kept += [(position + start, position + end) for start, end in spans]
        position += len(part.text)
    for start, end in protected_spans.spans(text, lang):
        assert any(first <= start and end <= last for first, last in kept), text[start:end]


@given(texts, languages)
def test_a_model_that_copies_leaves_the_message_unchanged(text, lang):
    (result,) = translated([text], lambda batch: batch, source=lang)
    assert result.text == text


@pytest.mark.parametrize("name", MODELS)
@given(text=texts)
def test_protected_text_survives_any_model(name, text):
    (result,) = translated([text], lambda batch: [MODELS[name](segment) for segment in batch])
    for part in segments.split(text, "en"):
        for start, end in part.spans if part.translate else [(0, len(part.text))]:
            assert result.text is None or part.text[start:end] in result.text


@pytest.mark.costly
@pytest.mark.skipif(not OASST.is_file(), reason="needs the sample of ../shared/data")
def test_real_messages_are_unchanged_if_the_model_copies():
    with OASST.open(encoding="utf-8") as file:
        messages = [json.loads(line)["text"] for line in file]
    results = translated(messages, lambda batch: batch)
    assert [result.text for result in results] == messages


LONG = [
    "word ", "This is it. ", "Hello there.\n", "a", "中", "ก", "e\u0301", "e" + "\u0301" * 9, "\u0301", "🙂", "🙂\u200d", "→", "1", "1+", "1 ", "a@", "a.",
    "`", "` ", "a`b", "```\n", "a```\n", "> ", "* ", "- ", "1. ", "$", "$a ", "$$a", "$$ a ", "\\$$/", "<", "<a ", "<!--", "<!", "<pre>", "<b>x</b>",
    '<a href="', "(", "](", "[", "][", "[^", "|", "|a", "|-", "\\(", "\\[", "\\", "\\begin{a}", "{", "; ", "&lt", "www.", "http://", "~", "~/", "-", "--a ",
    "/a", "C:\\", "_", "a_", "a()", "aB", "a=", '"', "'", "«a", "。」", "\t", " ", "\n", "\nx", "\ud800", "XQ1 ", "word `a` ", "| a |\n", "    x = 1\n",
    "μ", "5 μ ", "я ", "{", "{{a", "#a", "a#", "\\_a", "~~", "=AA(", "^a", "C:\\A ", "http://a/中", "1-", "(1-1)+", "1、", "-A", "a (b) ", "f(x)\n",
    "SELECT a FROM ", "cd a-", "```\nSome words of prose.\n```py\n", "    a\n",
]  # fmt: skip


@pytest.mark.costly
@pytest.mark.parametrize("unit", LONG, ids=ascii)
def test_long_lines_take_little_time(unit):
    body = unit * (100_000 // len(unit))
    for text in (body, f"word {body} word"):
        start = time.process_time()
        parts = segments.split(text, "en")
        assert time.process_time() - start < 3
        assert "".join(part.text for part in parts) == text


FRAGMENTS = [
    *PIECES, *LONG, "- ~~~\n", "aa aa aa aa\n", "```\n", "~~~\n", "````\n", "x ```\n", "> > ", "a. ", "''", "[a](b) ", "[a]: b\n", "<a b='", "</", "<?",
    "{%", "\\a{", "$$\n", "=A(=B(", "AAAA.com", "a.b.", "1.", "1:", "1+(", "**a", "__", "A1", "(ref)", "UPDATE a ", "cd a", "\ta\n", "   ", "|---",
    "①", "一", "（", "《", "XI. ", "e.g. ", "Mr. ", "«", "”", "...", "[/INST", "a_b(", "a.b(", "::", "a;", ">>> a\n", "\\$1", "###", "的", "И", "Иa ", "Ω",
    "→a", "±1 ",
]  # fmt: skip
# Cases that once took quadratic time: the text before, the units that are repeated one after the other, the text after.
QUADRATIC_ONCE = [
    ("", ["- ~~~\n", *["aa aa aa aa\n"] * 3], "```python\n~~~\n"),
    ("", ["AAAA.com一"], ""),
    ("", ["μИa "], ""),
]


def drawn(seed):
    """Return a random case like those above, made of fragments, many of which open a construct that is never closed."""
    rng = random.Random(seed)
    units = ["".join(rng.choices(FRAGMENTS, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 3))]
    return rng.choice(["", "word ", rng.choice(FRAGMENTS)]), units, rng.choice(["", " word", rng.choice(FRAGMENTS)])


def seconds(text):
    def once():
        start = time.process_time()
        segments.split(text, "en")
        return time.process_time() - start

    return min(once() for _ in range(2))


@pytest.mark.costly
@pytest.mark.parametrize("case", [*QUADRATIC_ONCE, *map(drawn, range(60))], ids=ascii)
def test_four_times_the_text_takes_four_times_as_long(case):
    before, units, behind = case

    def text(size):
        return before + "".join(unit * (size // len(units) // len(unit)) for unit in units) + behind

    # Quadratic time is 16 times as long at every size; linear time may seem quadratic once, due to other programs.
    assert any(seconds(text(4 * size)) < 9 * seconds(text(size)) + 0.01 for size in (6_000, 6_000, 12_000))


@pytest.mark.parametrize("name", [*MEASURES, "characters"])
@pytest.mark.parametrize(
    "text", ["word, " * 16_000, "a" * 100_000, "中文" * 50_000], ids=["words", "letters", "Chinese"]
)
def test_the_length_measure_is_called_rarely_and_on_short_texts(name, text):
    asked = []

    def measure(some):
        asked.append(len(some))
        return MEASURES.get(name, len)(some)

    parts = [part for part in segments.split(text, "en", 400, measure) if part.translate]
    assert max(asked, default=0) <= 4000
    assert len(asked) <= 6 * len(parts)
    assert all(MEASURES.get(name, len)(part.text) <= 400 for part in parts)


def test_short_segments_are_not_measured():
    assert segments.split("Hello there. How are you?", "en", 400, lambda text: pytest.fail("measured"))


@pytest.mark.parametrize("text", ["e\u0301\u0302" * 400, "क्षि" * 400, "กำ" * 400, "a" + "👩‍👩‍👧" * 400 + "b" * 99])
def test_cuts_are_between_visible_characters(text):
    parts = segments.split(f"Word{text}", "en", 100)
    assert len(parts) > 2
    for part in parts[1:]:
        assert unicodedata.category(part.text[0])[0] != "M" and part.text[0] != "\u200d"


def test_long_sentences_are_cut_after_clauses():
    sentence = "First comes a clause of some length, then comes another one that is longer; at last the third"
    parts = [part.text for part in segments.split(sentence, "en", 50) if part.translate]
    assert parts == [
        "First comes a clause of some length,",
        "then comes another one that is longer;",
        "at last the third",
    ]


def test_a_bracket_after_a_word_does_not_start_a_sentence():
    parts = segments.split("Energy (E) is mass (m) times light. (It is so!) (Yes.)", "en")
    sentences = [part.text for part in parts if part.translate]
    assert sentences == ["Energy (E) is mass (m) times light.", "(It is so!) (Yes.)"]


def test_sentences_from_a_language_without_spaces_are_separated_by_spaces():
    (result,) = translated(["你好。再见。"], lambda batch: ["Olá." for _ in batch], source="zh")
    assert result.text == "Olá. Olá."
    (result,) = translated(["你好。再见。"], lambda batch: ["こんにちは。" for _ in batch], source="zh", target="ja")
    assert result.text == "こんにちは。こんにちは。"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("访问https://example.com。", "Olá https://example.com。"),
        ("请看`代码`", "Olá `代码`"),
        ("`코드`를 사용하세요.", "`코드` Olá"),
        ("コードは`x`です。", "Olá `x` Olá"),
        ("见$x^2$的值和foo(x)。", "Olá $x^2$ Olá foo(x)。"),
        # Markup, elements and emoji stay next to the words without a space.
        ("重点：看<b>书</b>，好🙂好", "Olá<b>Olá</b>Olá🙂Olá"),
        ("**重点**：好\n|好|好|", "**Olá**：Olá\n|Olá|Olá|"),
    ],
)
def test_words_are_separated_from_protected_spans(text, expected):
    (result,) = translated([text], lambda batch: ["Olá"] * len(batch), source="zh")
    assert result.text == expected
    (result,) = translated([text], lambda batch: ["你"] * len(batch), source="zh", target="ja")
    assert " " not in result.text.replace("`코드`를 ", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-Analysis of it", "Analysis of it"),
        ("•Third thing", "Third thing"),
        ("1、Second", "Second"),
        ("–Dash", "Dash"),
        ("（1）第一", "第一"),
        ("①第一", "第一"),
        ("一、首先", "首先"),
        ("1）苹果", "苹果"),
        ("2)Second", "Second"),
        ("II. Methods", "Methods"),
        ("a. First", "First"),
        ("-5 degrees", "-5 degrees"),
        ("-based on it", "-based on it"),
        ("e.g. this", "e.g. this"),
        ("z. B. eine Katze", "z. B. eine Katze"),
        ("3D and 2nd", "3D and 2nd"),
        ("一个苹果", "一个苹果"),
    ],
)
def test_list_markers_are_not_translated(text, expected):
    assert [part.text for part in segments.split(text, "xx") if part.translate] == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kale (`a b`)", ["Kale"]),
        ("Kale (https://x.y) and (`b`) too", ["Kale", "and", "too"]),
        ('Its name = "`x`".', ["Its name"]),
        ("Use **bold** (`x`)", ["Use **bold**"]),
        ("the **bold** `x`", ["the **bold**"]),
        ('Say "yes" `x`', ['Say "yes"']),
        ("(`x`) is first", ["is first"]),
        ("看（`x`）", ["看"]),
    ],
)
def test_brackets_around_protected_spans_are_not_translated(text, expected):
    parts = [piece for part in segments.split(text, "xx") for piece in segments.pieces(part)]
    assert [part.text for part in parts if part.translate and segments.has_words(part.text)] == expected


def test_comma_separated_values_are_translated_by_cell_without_names():
    texts = {
        "Name,Home town,Age\nJohn,New York,25\nMary,a small town,30": ["Name", "Home town", "Age", "a small town"],
        "1,Apple,0.50": [],
        "id,full name,price": ["id", "full name", "price"],
        "Yes,it is": ["Yes,it is"],
        "First, we go,then we rest.": ["First, we go,then we rest."],
    }
    assert {text: [part.text for part in segments.split(text, "en") if part.translate] for text in texts} == texts


def test_placeholders_survive_inside_a_sentence():
    def model(batch):
        return [s.replace("Use the", "Use a função").replace("function twice", "duas vezes") for s in batch]

    (result,) = translated(["Use the `print()` function twice."], model)
    assert (result.text, result.status) == ("Use a função `print()` duas vezes.", "translated")
    # In scripts without spaces the words directly touch the span.
    (part, kept) = segments.split("请看`代码`和文档。`x`", "zh")
    assert (part.maskable, part.masked, kept.text) == (True, "请看XQ1和文档。", "`x`")


def test_text_that_looks_like_a_placeholder_is_kept_as_text():
    (part,) = segments.split("Call XQ1 and `x` or XQ3 here.", "en")
    assert part.masked == "Call XQ1 and XQ2 or XQ3 here."
    assert part.restore("Aqui XQ3 ou XQ2 e XQ1.") == "Aqui XQ3 ou `x` e XQ1."
    assert part.restore("Aqui XQ22 ou XQ1.") is None


def test_a_sentence_with_a_lost_placeholder_is_translated_in_pieces():
    seen = []

    def model(batch):
        seen.append(list(batch))
        return [s.replace("XQ1", "").upper() for s in batch]

    (result,) = translated(["Use the `print()` function twice."], model)
    assert result.text == "USE THE `print()` FUNCTION TWICE."
    assert seen[1] == ["Use the", "function twice."]


def test_equal_segments_are_translated_once():
    seen = []

    def model(batch):
        seen.extend(batch)
        return list(batch)

    translated(["Thank you!", "Thank you!\nThank you!", "Bye."], model)
    assert sorted(seen) == ["Bye.", "Thank you!"]


@pytest.mark.parametrize(
    "text", ["", " \n", "\t", "123", "50°F", "```\ncode\n```", "🙂", "https://example.org", "_A_ [B]"]
)
def test_a_message_without_words_is_copied(text):
    (result,) = translated([text], lambda batch: pytest.fail("called"))
    assert (result.text, result.status) == (text, "copied")


def test_an_empty_translation_next_to_code_is_a_failure():
    for text in ("Click `here` now", "`a` is first"):
        (result,) = translated([text], lambda batch: [""] * len(batch))
        assert (result.text, result.status) == (None, "failed")
    (half,) = translated(
        ["Run `a` first, then the second long clause of words."],
        lambda batch: ["" if "XQ" in s or "then" in s else s.upper() for s in batch],
    )
    assert (half.status, half.reasons) == ("flagged", ["empty"])
    assert half.text.startswith("RUN `a` ")
