"""Tests of characters outside a model's vocabulary: they are kept unchanged, and typography is simplified."""

import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from translators import way

from mothertongue.translation.checks import Checks
from mothertongue.translation.messages import Translator, translate_messages
from mothertongue.translation.segments import byte_length, split
from mothertongue.translation.settings import QualityLimits
from mothertongue.translation.vocabulary import Vocabulary

KNOWN = set(string.ascii_letters + string.digits + " .,:;!?'\"()-/%+=*\n\t" + "áéíóúãõç")
VOCABULARY = Vocabulary(KNOWN.issuperset)
WORDS = st.sampled_from(
    ["the", "house", "costs", "£18", "€5.50", "2^n", "Dvořák", "a", "Łódź.", "@john_doe", "{name}", "<your", "name>", "~5", "#1",
     "C#,", "鬱", "naïve", "5 €", "Ñusta's", "(₹500)", "e-mail: x@y.org", "\\", "`code`", "[ř](https://x.org/ř)", "~", "ª", "—", "“so”", "ex­tra"]
)  # fmt: skip


def spoiling(texts):
    """Simulate a model that drops characters outside the vocabulary and adds a word at both ends."""
    return [f"Pois {''.join(filter(KNOWN.__contains__, text))} sim" for text in texts]


def translated(text, lang="en"):
    checks = Checks(lang, "pt", QualityLimits())
    (found,) = translate_messages([text], Translator([way(spoiling)], checks, 480, byte_length, VOCABULARY.covers))
    return found


@given(st.lists(WORDS, min_size=1, max_size=12).map(" ".join), st.sampled_from(["en", "de", "ja"]))
def test_characters_outside_the_vocabulary_survive_any_model(text, lang):
    text = f"The house. {text}"
    lacking = Counter(character for character in text if not VOCABULARY.covers(character))
    found = translated(text, lang).text
    assert {character: found.count(character) for character in lacking} == lacking


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The book costs £18 at the shop.", "£18"), ("It rose to €7,200.50, or more.", "€7,200.50"), ("It is 5 € today.", "5 €"),
        ("We heard Dvořák's symphony.", "Dvořák"), ("See the value of 2^n here.", "2^n"), ("Ask @mary-ann, please.", "@mary-ann"),
        ("Write to <your name here> first.", "<"),
    ],
)  # fmt: skip
def test_the_word_with_a_character_outside_the_vocabulary_is_kept(text, kept):
    """Characters that other texts have change nothing."""
    unreadable = frozenset(character for character in text if not VOCABULARY.covers(character))
    spans = [part.text[start:end] for part in split(text, "en", unreadable=unreadable) for start, end in part.spans]
    assert kept in spans
    assert split(text, "en", unreadable=unreadable | set("ж<>«»{§中")) == split(text, "en", unreadable=unreadable)


def test_typography_outside_the_vocabulary_is_simplified():
    assert VOCABULARY.covers("“So”—he’s…") and not VOCABULARY.covers("§")
    assert VOCABULARY.plain("“So”—he’s gone… – «why» — what") == '"So" - he\'s gone... - "why" - what'
    every = Vocabulary(lambda text: True)
    assert every.plain("“So”—he’s…") == "“So”—he’s…"
    assert not Vocabulary(str.isalpha).covers("“")
