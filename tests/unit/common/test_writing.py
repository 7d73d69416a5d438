"""Tests of the script that a text is written in: lid.176 takes both of Chinese, and of Serbian, for one language."""

import pytest

from mothertongue.common.language_id import in_other_script, speaks
from mothertongue.common.languages import is_latin, scripts_of
from mothertongue.common.writing import other_script
from mothertongue.dataset.quality_report import identify
from mothertongue.translation.checks import Checks
from mothertongue.translation.engines.base import Output
from mothertongue.translation.settings import QualityLimits

SIMPLIFIED = "我爱北京天安门。今天天气很好，我们去公园散步吧。这里的学生都喜欢读书，他们说汉语的语言很有意思。"
TRADITIONAL = "我愛北京天安門。今天天氣很好，我們去公園散步吧。這裡的學生都喜歡讀書，他們說漢語的語言很有意思。"
CYRILLIC = "Ово је једна реченица на српском језику, а написана је ћирилицом, као што се обично пише у књигама."
LATIN = "Ovo je jedna rečenica na srpskom jeziku, a napisana je latinicom, kao što se često piše na internetu."


@pytest.mark.parametrize(
    ("text", "lang", "expected"),
    [
        (SIMPLIFIED, "zh", None), (TRADITIONAL, "zh", "zh-Hant"),
        (TRADITIONAL, "zh-Hant", None), (SIMPLIFIED, "zh-Hant", "zh"),
        (CYRILLIC, "sr", None), (LATIN, "sr", "sr-Latn"), (LATIN, "bs", None), (CYRILLIC, "sr-Latn", "sr-Cyrl"),
        # Latin names and code in Chinese, what both scripts share, and languages of one script say nothing.
        ("用 Python 写一个 list comprehension 的例子", "zh", None), ("你好", "zh-Hant", None), ("", "zh", None),
        ("囧", "zh", None), (LATIN, "ru", None), (SIMPLIFIED, "ja", None),
    ],
)  # fmt: skip
def test_another_script_is_told_by_its_characters(text, lang, expected):
    assert other_script(text, lang) == expected


def test_an_answer_in_the_wrong_script_is_not_in_the_language():
    assert speaks(SIMPLIFIED, "zh") and speaks(TRADITIONAL, "zh-Hant") and speaks(CYRILLIC, "sr")
    assert not speaks(TRADITIONAL, "zh") and not speaks(SIMPLIFIED, "zh-Hant") and not speaks(LATIN, "sr")
    assert not speaks(f"{SIMPLIFIED}\n{TRADITIONAL}", "zh")


@pytest.mark.parametrize(
    ("target", "right", "wrong"), [("zh", SIMPLIFIED, TRADITIONAL), ("zh-Hant", TRADITIONAL, SIMPLIFIED)]
)
def test_a_translation_into_the_wrong_script_is_flagged_and_counted(target, right, wrong):
    checks = Checks("en", target, QualityLimits())
    source = (
        "I love Tiananmen in Beijing. The weather is fine today, let us take a walk in the park. The students like it."
    )
    other = {"zh": "zh-Hant", "zh-Hant": "zh"}[target]
    assert list(checks.failures(source, Output(right))) == []
    assert list(checks.failures(source, Output(wrong))) == [f"language: {other}"]
    assert (identify(right, target), identify(wrong, target)) == (target, other)


def test_names_in_latin_letters_are_no_other_script():
    """lid.176 does not take a list of names for Serbian."""
    names = "Microsoft Windows Server 2019, Google Chrome, Mozilla Firefox, Adobe Photoshop, LibreOffice Writer"
    assert in_other_script(names, "sr") is None and in_other_script(TRADITIONAL, "zh") == "zh-Hant"
    assert not [
        reason for reason in Checks("en", "sr", QualityLimits()).failures(names, Output(names)) if "-" in reason
    ]


def test_a_code_names_its_script():
    assert scripts_of("zh-Hant") == {"Hant"} and "Hans" in scripts_of("zh") and scripts_of("sr") == {"Cyrl"}
    assert is_latin("uz") and is_latin("sr-Latn") and not is_latin("sr") and not is_latin("uz-Cyrl")
