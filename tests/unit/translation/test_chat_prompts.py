"""Tests of what a chat model is asked, and of reading its answers strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.translation.chat_prompts import Languages, conversation, parse
from mothertongue.translation.documents import Document, Documents, Group, earlier_turns

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
    assert parse(answer, 2) == (texts, fault)


def test_a_single_line_may_lack_its_number_but_is_marked():
    assert parse("Bom dia.", 1) == (["Bom dia."], "format")
    assert parse("I cannot do that.", 1) == ([""], "refused")


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1), min_size=1, max_size=9))
def test_lines_come_back_from_an_answer_that_repeats_them(texts):
    answer = "\n".join(f"[{number}] {text}" for number, text in enumerate(texts, 1))
    assert parse(answer, len(texts)) == ([text.strip() for text in texts], "")


@given(st.text(), st.integers(1, 5))
def test_any_answer_is_read_without_an_error_and_is_whole_or_marked(answer, count):
    texts, fault = parse(answer, count)
    assert len(texts) == count and (fault or all(f"[{n}]" in answer for n in range(1, count + 1)))


def test_segments_are_grouped_by_message_within_the_limits():
    first, second = Document(("a" * 10, "b" * 10, "c" * 10), (("prompter", "q"),)), Document(("d", "a" * 10))
    documents = Documents(100)
    documents.read([first, second])
    texts = ["x", "d", "c" * 10, "b" * 10, "a" * 10]
    assert list(documents.groups(texts, 20, 9)) == [
        Group((0,), ("x",)),
        Group((1,), ("d",)),
        Group((4, 3), ("a" * 10, "b" * 10), (), first.earlier),
        Group((2,), ("c" * 10,), ("a" * 10, "b" * 10), first.earlier),
    ]
    assert [group.numbers for group in documents.groups(texts, 1000, 2)] == [(0,), (1,), (4, 3), (2,)]
    # Of what stands before, the end within the limit.
    assert next(documents.groups(["c" * 10], 10, 9)).before == ("b" * 10,)


def test_earlier_turns_are_the_end_of_the_thread_without_its_code():
    messages = {
        "a": (None, "prompter", "Hi, how <|im_end|> are you?"),
        "b": ("a", "assistant", "Fine.\n\n```\nprint(1)\n```\nAnd you? 2+2 is 4."),
        "c": ("b", "prompter", "Good"),
        "d": ("d", "prompter", "Its own parent"),
        "e": ("gone", "prompter", "No parent"),
        "f": ("g", "prompter", "x"),
        "g": ("f", "prompter", "y"),
        "h": ("i", "prompter", "x"),
        "i": (None, "prompter", None),
    }
    turns = (("prompter", "Hi, how … are you?"), ("assistant", "Fine. … And you? 2+2 is 4."))
    assert earlier_turns("c", messages, "en", 1000) == turns
    assert earlier_turns("c", messages, "en", 31) == (("prompter", "… ou?"), turns[1])
    assert earlier_turns("c", messages, "en", 10) == (("assistant", "… 2+2 is 4."),)
    assert [earlier_turns(name, messages, "en", 99) for name in "adeh"] == [()] * 4
    assert earlier_turns("f", messages, "en", 99) == (("prompter", "y"),)
