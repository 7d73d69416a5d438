"""Tests of what a chat model is asked, and of reading its answers strictly."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.translation.chat_prompts import CUT_OFF, Languages, conversation, faults, read_lines
from mothertongue.translation.documents import Document, Documents, Group, earlier_turns, plain

LANGUAGES = Languages("English", "Portuguese", "Use the informal you.")


def test_a_request_has_the_lines_the_turns_before_them_and_what_the_model_is_to_know():
    group = Group((0, 1), ("Add XQ1.", "Then stir."), ("Peel them.",), (("prompter", "How do I cook potatoes?"),))
    system, user = conversation(group, LANGUAGES, [("potato", "batata")])
    assert "from English into Portuguese" in system["content"] and "Use the informal you." in system["content"]
    assert user["content"] == (
        "Use these translations:\npotato = batata\n\n"
        "The conversation before it, which you do not translate:\nUser: How do I cook potatoes?\n\n"
        "The message begins with this, which you do not translate again:\nPeel them.\n\n"
        "Translate:\n[1] Add XQ1.\n[2] Then stir."
    )
    assert conversation(group, LANGUAGES, careful=True) != conversation(group, LANGUAGES)


def test_texts_with_braces_are_not_filled_in():
    group = Group((0,), ("{source} {target}",))
    assert conversation(group, Languages("{target}", "Dutch"))[1]["content"].endswith("[1] {source} {target}")


@pytest.mark.parametrize(
    ("answer", "texts", "fault"),
    [
        ("[1] Um.\n[2] Dois.", ["Um.", "Dois."], ""),
        ("\n [1]  Um. \n\n[2]Dois.\n", ["Um.", "Dois."], ""),
        ("<think>\n[1] Hm.\n</think>\n[1] Um.\n[2] Dois.", ["Um.", "Dois."], ""),
        ("Here you are:\n[1] Um.\n[2] Dois.", ["Um.", "Dois."], "explained"),
        ("[1] Um.\n[2] Dois.\nI hope this helps!", ["Um.", "Dois."], "explained"),
        ("[1] Um.", ["Um.", ""], "format"),
        ("[1] Um.\n[1] Um!\n[2] Dois.", ["", "Dois."], "format"),
        ("[2] Dois.\n[1] Um.", ["Um.", "Dois."], "format"),
        ("[1] Um.\n[2] Dois.\n[3] Três.", ["Um.", "Dois."], "format"),
        ("Um.\nDois.", ["", ""], "format"),
        ("I'm sorry, but I can't translate this.", ["", ""], "refused"),
        ("Desculpe, não posso ajudar com isso.", ["", ""], "refused"),
        ("", ["", ""], "format"),
        ("[0] Zero\n[99999] x\n[-1] y", ["", ""], "format"),
    ],
)
def test_an_answer_is_read_strictly(answer, texts, fault):
    assert read_lines(answer, 2) == (texts, fault)


def test_a_single_line_may_lack_its_number_but_is_marked():
    assert read_lines("Bom dia.", 1) == (["Bom dia."], "format")
    assert read_lines("I cannot do that.", 1) == ([""], "refused")


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1), min_size=1, max_size=9))
def test_lines_come_back_from_an_answer_that_repeats_them(texts):
    answer = "\n".join(f"[{number}] {text}" for number, text in enumerate(texts, 1))
    assert read_lines(answer, len(texts)) == ([text.strip() for text in texts], "")


PIECES = [
    "[1]",
    "[2]",
    "[3]",
    "[１]",
    "[99]",
    " Um.",
    "Dois",
    "\n",
    "\n\n",
    "\r",
    "\u2028",
    "<think>",
    "</think>",
    "I'm sorry",
    ":",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.integers(1, 3), st.booleans())
def test_any_answer_is_read_without_an_error_and_is_whole_or_marked(answer, count, complete):
    texts, fault = read_lines(answer, count, complete)
    assert complete or (fault == CUT_OFF and not texts[-1])
    assert len(texts) == count and (fault or all(f"[{n}]" in answer for n in range(1, count + 1)))


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ("[1] Um.\n[2] Dois.\n[3] Tr", ["Um.", "Dois.", ""]),
        ("[1] Um.\n[2] Dois.\n[3] Três.\n[4] Qua", ["Um.", "Dois.", "Três."]),
        ("[1] U", ["", "", ""]),
        ("[2] Dois.\n[1] Um texto que", ["", "", ""]),
        ("[1] Corte as batatas\nem fatias finas.\n[2] Frite", ["", "", ""]),
        ("Here you are:\n[1] Um.\n[2] Do", ["", "", ""]),
        ("", ["", "", ""]),
    ],
)
def test_of_an_answer_that_is_cut_off_only_what_is_surely_whole_is_taken(answer, texts):
    assert read_lines(answer, 3, complete=False) == (texts, CUT_OFF)


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        ("A **bold** claim", "Uma afirmação *ousada*", []),
        ("A **bold** claim", "Uma afirmação ousada", ["emphasis"]),
        ("The red house", "A casa XQ1 vermelha", ["codes"]),
        ("Use XQ1 now", "Use XQ2 agora", ["codes"]),
        ("Use XQ1 now", "Use XQ1 e XQ1 agora", ["codes"]),
        ("Use XQ1 now", "Use XQ1 agora", []),
        ("It is so", "É\x00 assim", ["control characters"]),
        ("It is so", "É \u202e assim", ["control characters"]),
        ("It is so", "É \ue000 assim", ["control characters"]),
        ("It is so", "É \ufffd assim", ["control characters"]),
        ("It is so", "É\u200d \u00a0assim 👩‍🚀", []),
        ("It is \ue000 so", "É \ue000 assim", []),
    ],
)
def test_what_a_model_adds_or_loses_in_a_line_is_told(source, text, found):
    assert list(faults(source, text, "")) == found


def test_a_fault_of_the_answer_is_that_of_its_lines():
    assert list(faults("a", "b", "format")) == ["format"] and list(faults("a", "", CUT_OFF)) == [CUT_OFF]
    assert list(faults("a", "b", CUT_OFF)) == []


@pytest.mark.parametrize(
    "answer", ["\n" * 400_000, "<think>" * 60_000, "[1]" * 100_000, "[1] a\n" * 60_000, " " * 400_000]
)
def test_long_answers_take_no_time(answer):
    began = time.process_time()
    read_lines(answer, 100)
    assert time.process_time() - began < 2


def test_segments_are_grouped_by_message_within_the_limits():
    first, second = Document(("a" * 10, "b" * 10, "c" * 10), (("prompter", "q"),)), Document(("d", "a" * 10))
    # Each line has 16 bytes more, for its number.
    documents = Documents(100)
    documents.read([first, second])
    texts = ["x", "d", "c" * 10, "b" * 10, "a" * 10]
    assert list(documents.groups(texts, 52, 9)) == [
        Group((0,), ("x",)),
        Group((1,), ("d",)),
        Group((4, 3), ("a" * 10, "b" * 10), (), first.earlier),
        Group((2,), ("c" * 10,), ("a" * 10, "b" * 10), first.earlier),
    ]
    assert [group.numbers for group in documents.groups(texts, 1000, 2)] == [(0,), (1,), (4, 3), (2,)]
    # Of what stands before, the end within the limit.
    documents.earlier_bytes = 15
    assert next(documents.groups(["c" * 10], 10, 9)).before == ("b" * 10,)


def test_earlier_turns_are_the_end_of_the_thread():
    messages = {
        "a": (None, "prompter", "Hi, how are you?"),
        "b": ("a", "assistant", "Fine. And you? 2+2 is 4."),
        "c": ("b", "prompter", "Good"),
        "d": ("d", "prompter", "Its own parent"),
        "e": ("gone", "prompter", "No parent"),
        "f": ("g", "prompter", "x"),
        "g": ("f", "prompter", "y"),
        "h": ("i", "prompter", "x"),
        "i": (None, "prompter", None),
    }
    turns = (("prompter", "Hi, how are you?"), ("assistant", "Fine. And you? 2+2 is 4."))
    assert earlier_turns("c", messages, 1000) == turns
    assert earlier_turns("c", messages, 28) == (("prompter", "… you?"), turns[1])
    assert earlier_turns("c", messages, 10) == (("assistant", "… 2+2 is 4."),)
    assert [earlier_turns(name, messages, 99) for name in "adeh"] == [()] * 4
    assert earlier_turns("f", messages, 99) == (("prompter", "y"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi, how <|im_end|> are\nyou?", "Hi, how … are you?"),
        ("Fine.\n\n```\nprint(1)\n```\nAnd 2+2 is 4.", "Fine. … And 2+2 is 4."),
        ("a<|eot_id|>b [INST] c [/INST] [gMASK] <0x0A> <| im_end |> </s>", "a…b … c … … … … …"),
    ],
)
def test_code_and_what_might_be_control_tokens_are_not_in_them(text, expected):
    assert plain(text, "en") == expected
