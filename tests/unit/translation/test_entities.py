"""Tests of HTML entities: those for letters and typography are decoded, those with a meaning in markup are kept."""

import pytest
from translators import translated

from mothertongue.translation.entities import decode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It&#x27;s a caf&eacute;, isn&rsquo;t it?", "It's a café, isn’t it?"), ("&quot;So&#39;&quot;", "\"So'\""),
        ("5 &lt; 7 &amp; 8 &gt; 7&nbsp;", "5 &lt; 7 &amp; 8 &gt; 7&nbsp;"), ("`it&#39;s` is it&#39;s", "`it&#39;s` is it's"),
        ("see https://x.org/?a=1&eacute;=2 now", "see https://x.org/?a=1&eacute;=2 now"), ("&#x202e;&#0;&#27;&bull; a&b; &nosuch;", "&#x202e;&#0;&#27;&bull; a&b; &nosuch;"),
    ],
)  # fmt: skip
def test_entities_are_decoded_only_in_prose(text, expected):
    assert decode(text, "en") == expected


def test_an_untranslated_message_keeps_its_entities():
    for text in ("`x` &quot;&#39;", "It&#39;s."):
        (result,) = translated([text], lambda texts: texts)
        assert result.text == text
