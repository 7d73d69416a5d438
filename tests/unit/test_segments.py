"""Splitting loses nothing, protects what must stay, and puts translations in their places."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mothertongue import protect, segments
from mothertongue.quality import Limits
from mothertongue.translation import translate_messages

PIECES = [
    "Hello there.", "How are you? ", "It is 5.30 p.m. now", "\n", "\n\n", "\r\n", "  ", "\t", "- ", "1. ", "a) ", "> ", "## ",
    "`x = 1`", "``a ` b``", "```python\nprint('hi. There')\n```", "~~~\ncode\n~~~", "```", "    indented code", "| a | b |", "|---|---|",
    "https://example.org/a.b?c=d", "<https://example.org>", "[docs](https://a.org/x_(y))", "help@example.org", "$x^2$", "$$\ny\n$$",
    "\\(a\\)", "\\[b\\]", "\\begin{align}\nc\n\\end{align}", "$5 and $10", "<b>bold</b>", "&nbsp;", "🙂", "👩‍👩‍👧", "🇧🇷", "XQ1", "[INST]", "</s>",
    "<|im_start|>", "这是。那是！", "สวัสดีครับ", "Привет, мир. Как дела?", "word " * 40, "\u00a0", "\u2028", "* [ ] task", "**bold** text",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=20)), max_size=12).map("".join)


@given(texts, st.sampled_from(["en", "pt", "zh", "th", "ru", "xx"]))
def test_nothing_is_lost(text, lang):
    assert "".join(part.text for part in segments.split(text, lang)) == text


@given(texts, st.integers(20, 200))
def test_no_segment_exceeds_the_limit(text, limit):
    for part in segments.split(text, "en", limit):
        assert not part.translate or segments.byte_length(part.text) <= limit
        assert not part.translate or segments.has_words(part.text)


@given(texts)
def test_a_model_that_copies_gives_the_message_back(text):
    (result,) = translate_messages([text], lambda batch: batch, "en", "pt", Limits())
    assert result.text is not None
    squeezed = re.compile(r"\s+")
    assert squeezed.sub("", result.text) == squeezed.sub("", text)


@given(texts)
def test_protected_text_survives_any_model(text):
    """Whether the model keeps the placeholders or drops every word, code and links stay, in order, byte for byte."""
    parts = segments.split(text, "en")
    kept = [text[start:end] for start, end in protect.blocks(text)]
    kept += [part.text[start:end] for part in parts for start, end in part.spans]
    for model in (lambda batch: [s.swapcase() for s in batch], lambda batch: ["nada"] * len(batch)):
        (result,) = translate_messages([text], model, "en", "pt", Limits())
        for span in kept:
            assert span in result.text


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint('Hello. World')\n```",
        "~~~\nsome code\n~~~",
        "An answer:\n\n    indented code\n    more of it\n",
        "- item\n  ```bash\n  ls -l\n  ```",
        "```\nnever closed\nand more",
        "$$\n\\frac{a}{b} is a fraction\n$$",
        "\\begin{align}\na &= b \\text{ if so}\n\\end{align}",
        "https://www.wikipedia.org/wiki/Some_Page",
        "<https://example.org/a b>",
        "`inline code only`",
        "|---|:---:|",
        "🙂🎉",
        "12 + 30 = 42",
    ],
)
def test_code_links_and_formulas_are_not_translated(text):
    (result,) = translate_messages([text], lambda batch: ["X" for _ in batch], "en", "pt", Limits())
    core = text.split(":\n\n")[-1].removeprefix("- item\n")
    assert core in result.text


def test_markers_tables_and_blank_lines_stand_where_they_stood():
    text = (
        "# Title of it\n\n- first thing\n  1. second thing\n> quoted words\n\n\n"
        "| one cell | two |\n|---|---|\n| three | `x` |\n\r\nEnd 🙂 here.  \n"
    )
    (result,) = translate_messages([text], lambda batch: ["T" for _ in batch], "en", "pt", Limits())
    assert result.text == ("# T\n\n- T\n  1. T\n> T\n\n\n| T | T |\n|---|---|\n| T | `x` |\n\r\nT 🙂 T  \n")


def test_prices_are_no_formulas():
    assert protect.inline("It costs $5 and $10 today") == []
    assert [tuple("$x$ and $y_1$"[a:b] for a, b in protect.inline("$x$ and $y_1$"))] == [("$x$", "$y_1$")]


def test_placeholders_survive_inside_a_sentence():
    (result,) = translate_messages(
        ["Use the `print()` function twice."],
        lambda batch: [s.replace("Use the", "Use a função").replace("function twice", "duas vezes") for s in batch],
        "en",
        "pt",
        Limits(),
    )
    assert result.text == "Use a função `print()` duas vezes."
    assert result.status == "translated"


def test_a_lost_placeholder_falls_back_to_the_pieces_around_it():
    seen = []

    def model(batch):
        seen.append(list(batch))
        return [s.replace("XQ1", "").upper() for s in batch]

    (result,) = translate_messages(["Use the `print()` function twice."], model, "en", "pt", Limits())
    assert result.text == "USE THE `print()` FUNCTION TWICE."
    assert seen[1] == ["Use the", "function twice."]


def test_equal_segments_are_translated_once():
    seen = []

    def model(batch):
        seen.extend(batch)
        return list(batch)

    translate_messages(["Thank you!", "Thank you!\nThank you!", "Bye."], model, "en", "pt", Limits())
    assert sorted(seen) == ["Bye.", "Thank you!"]


def test_sentences_from_a_language_without_spaces_get_them():
    (result,) = translate_messages(["你好。再见。"], lambda batch: ["Olá." for _ in batch], "zh", "pt", Limits())
    assert result.text == "Olá. Olá."
    (result,) = translate_messages(
        ["你好。再见。"], lambda batch: ["こんにちは。" for _ in batch], "zh", "ja", Limits()
    )
    assert result.text == "こんにちは。こんにちは。"


@pytest.mark.parametrize("text", ["", " \n", "\t", "123", "```\ncode\n```", "🙂", "https://example.org"])
def test_a_message_without_words_is_copied(text):
    (result,) = translate_messages([text], lambda batch: pytest.fail("called"), "en", "pt", Limits())
    assert (result.text, result.status) == (text, "copied")


def test_quality_checks_name_their_reasons():
    model = {
        "This sentence is simply copied here.": "This sentence is simply copied here.",
        "This one turns into a loop of words.": "isto isto isto isto isto isto isto isto",
        "This rather long sentence becomes almost nothing at all.": "Nada.",
        "This sentence is fine.": "Esta frase está bem.",
    }
    results = translate_messages(list(model), lambda batch: [model[s] for s in batch], "en", "pt", Limits())
    assert [(r.status, r.reasons) for r in results] == [
        ("flagged", ["untranslated"]),
        ("flagged", ["repetition"]),
        ("flagged", ["length ratio"]),
        ("translated", []),
    ]


def test_a_model_that_gives_nothing():
    (whole,) = translate_messages(["One sentence."], lambda batch: [""] * len(batch), "en", "pt", Limits())
    assert (whole.text, whole.status, whole.reasons) == (None, "failed", ["empty translation"])
    (half,) = translate_messages(
        ["One sentence. Another one."],
        lambda batch: ["" if "Another" in s else "Uma frase." for s in batch],
        "en",
        "pt",
        Limits(),
    )
    assert (half.text, half.status, half.reasons) == ("Uma frase. Another one.", "flagged", ["empty"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "An aside:\n\n    This is an indented paragraph of prose.",
            "AN ASIDE:\n\n    THIS IS AN INDENTED PARAGRAPH OF PROSE.",
        ),
        (
            "Here: ```python\nfor x in y:\n    print(x)\n```\nDone now.",
            "HERE: ```python\nfor x in y:\n    print(x)\n```\nDONE NOW.",
        ),
        (
            "Cheap: $$ means little.\n\nMore prose.\n\n$$$ means dear.",
            "CHEAP: $$ MEANS LITTLE.\n\nMORE PROSE.\n\n$$$ MEANS DEAR.",
        ),
        ("Set \\[optional\\] and \\[other\\] values.", "SET \\[OPTIONAL\\] AND \\[OTHER\\] VALUES."),
        (
            "<pre><code>\nlet it = be\n</code></pre>\nProse here.",
            "<pre><code>\nlet it = be\n</code></pre>\nPROSE HERE.",
        ),
        ("One line\rand another\u2028and more", "ONE LINE\rAND ANOTHER\u2028AND MORE"),
        ('See [it](img.png "A title") now.', 'SEE [IT](img.png "A title") NOW.'),
    ],
)
def test_what_is_code_and_what_is_prose(text, expected):
    def model(batch):
        return [re.sub(r"(?<!\w)(?!XQ)\w+", lambda word: word[0].upper(), s) for s in batch]

    (result,) = translate_messages([text], model, "en", "pt", Limits())
    assert result.text == expected


def test_a_segment_that_is_swallowed_beside_code_is_no_translation():
    for text in ("Click `here` now", "`a` is first"):
        (result,) = translate_messages([text], lambda batch: [""] * len(batch), "en", "pt", Limits())
        assert (result.text, result.status) == (None, "failed")
    (half,) = translate_messages(
        ["Run `a` first, then the second long clause of words."],
        lambda batch: ["" if "XQ" in s or "then" in s else s.upper() for s in batch],
        "en",
        "pt",
        Limits(),
    )
    assert (half.status, half.reasons) == ("flagged", ["empty"])
    assert half.text.startswith("RUN `a` ")
