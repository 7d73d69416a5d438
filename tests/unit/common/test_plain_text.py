"""Tests of printing untrusted text: of the characters that control a terminal, only tabs and line feeds are printed."""

import io
import json
import subprocess
import sys

import pytest
from acting_text import acts
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.common import progress
from mothertongue.common.plain_text import Visible, one_line, visible

# Control characters, and ordinary characters to mix with them.
ODD = "\0\x07\x08\t\n\x0b\r\x1b\x7f\x85\x9b\u061c\u200b\u200d\u200e\u2028\u202e\u2066\ufeff\U000e0041\ud800a\\\"'é中😀"
TEXT = st.text(st.one_of(st.sampled_from(ODD), st.characters()))
# Joiners, a flag made of tag characters, variation selectors: characters that ordinary text needs.
KEPT = [
    "می‌روم",
    "क्‍ष",
    "👩‍🚒",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "❤️",
    "שלום",
    "ខ្ញុំ\u200bទៅ",
    "a\tb\nc",
]
CHATTY = """
import sys, warnings
sys.path.insert(0, "scripts")
import argparse
from mothertongue.common.errors import UserError, run
def main():
    bad = sys.argv[1]
    {call}
run(main)
"""


@given(TEXT)
def test_control_characters_are_escaped_and_visible(text):
    assert not acts(visible(text)) and "\n" not in one_line(text) and not acts(one_line(text))
    assert visible(visible(text)) == visible(text)
    # The escapes are those of JSON.
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == json.loads(json.dumps(text))


@given(st.lists(TEXT))
def test_a_text_written_in_pieces_gives_the_same_output(pieces):
    written = io.StringIO()
    stream = Visible(written)
    for piece in pieces:
        stream.write(piece)
    whole = visible("".join(piece.replace("\r\n", "\n").replace("\r", "\n") for piece in pieces))
    assert written.getvalue() == whole and not acts(whole)


@pytest.mark.parametrize("text", KEPT)
def test_characters_of_ordinary_text_are_unchanged(text):
    assert visible(text) == text
    assert one_line(" a  b") == " a  b" and one_line("a \r\n\n b\u2028c") == "a b c"
    # Tag characters that are not part of a region's flag can hide a text.
    assert visible("🏴" + "".join(chr(0xE0000 + ord(letter)) for letter in "say no")) == "🏴" + "".join(
        json.dumps(chr(0xE0000 + ord(letter)))[1:-1] for letter in "say no"
    )


def test_a_line_of_progress_stays_one_line(capsys):
    progress.log("split: left out: \x1b[2Jxx (3)\nsplit: all is well")
    assert capsys.readouterr().err == "split: left out: \\u001b[2Jxx (3) split: all is well\n"


@pytest.mark.parametrize(
    "call",
    ["raise UserError(bad)", "raise RuntimeError(bad)", "print(bad)", "warnings.warn(bad)", "open('/no' + bad)",
     "argparse.ArgumentParser().parse_args()", "print(bad, file=sys.stderr, end=''); sys.exit(bad)"],
)  # fmt: skip
@pytest.mark.parametrize("bad", ["-\x1b]0;x\x07\x9b2J\u202eoff", "\rerror\x08\x7f\u2028\ufeff\u2066"])
def test_every_output_of_a_program_is_escaped(call, bad):
    done = subprocess.run(
        [sys.executable, "-c", CHATTY.format(call=call), bad], capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert not acts(said) and ("\\u202e" in said or "\\u2066" in said), said
