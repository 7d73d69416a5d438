"""Tests of the conversion between the scripts of Chinese: words decide, and code, links and Japanese stay."""

import pytest

from mothertongue.common.languages import OTHER_SCRIPTS
from mothertongue.translation import script_conversion

SIMPLE = "头发和发展，后面和皇后。\n`后面` 和 https://a.b/c?d=1\n「学習」はひらがな"
TRADITIONAL = "頭髮和發展，後面和皇后。\n`后面` 和 https://a.b/c?d=1\n「学習」はひらがな"


@pytest.mark.parametrize(
    ("source", "target", "text", "expected"),
    [
        ("zh", "zh-Hant", SIMPLE, TRADITIONAL),
        ("zh-Hant", "zh", TRADITIONAL, SIMPLE),
        ("zh", "zh-Hant", "```\n后面 = 1\n```\n软件", "```\n后面 = 1\n```\n軟件"),
        ("zh", "zh-Hant", "", ""),
        ("zh", "zh-Hant", "One, two.\r\n\tthree", "One, two.\r\n\tthree"),
    ],
)
def test_chinese_is_converted_and_all_else_stays(source, target, text, expected):
    assert (source, target) in OTHER_SCRIPTS and ("en", target) not in OTHER_SCRIPTS
    assert script_conversion.converter(source, target)(text) == (expected, "ひらがな" in text)


def test_the_dot_of_foreign_names_and_a_single_kana_are_no_japanese():
    convert = script_conversion.converter("zh", "zh-Hant")
    assert convert("约翰・肯尼迪说过。") == ("約翰・肯尼迪說過。", False)
    assert convert("の是什么？") == ("の是什麼？", False)
