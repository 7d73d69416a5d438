"""Tests of the prompt file: it is read completely, or refused with one message that names the faulty line."""

import pytest

from mothertongue.chat import prompt_file
from mothertongue.chat.prompt_file import Prompt, Reply
from mothertongue.common.errors import UserError


def test_a_text_file_has_one_prompt_per_line_empty_ones_included(tmp_path):
    (tmp_path / "p.txt").write_text('Olá!\r\n\n {"prompt": 1} \n\n', encoding="utf-8")
    first, empty, last = prompt_file.read(tmp_path / "p.txt")
    assert (first, empty) == (Prompt(1, {"prompt": "Olá!"}), Prompt(2, {"prompt": ""})) and not empty.messages
    assert last == Prompt(3, {"prompt": '{"prompt": 1}'})
    assert empty.with_answer(Reply(None, error="x")) == {"prompt": "", "answer": None, "ended": False, "error": "x"}


def test_json_lines_are_prompts_or_conversations_and_keep_their_other_keys(tmp_path):
    (tmp_path / "p.jsonl").write_text(
        '{"prompt": "a\\u2028b", "id": 1}\n\n{"messages": [{"role": "user", "content": "c", "id": 2}]}',
        encoding="utf-8",
    )
    prompts = prompt_file.read(tmp_path / "p.jsonl")
    assert [(prompt.line, prompt.messages) for prompt in prompts] == [
        (1, [{"role": "user", "content": "a\u2028b"}]),
        (3, [{"role": "user", "content": "c"}]),
    ]
    answered = Prompt(1, {**prompts[0].row, "error": "of an earlier try"}).with_answer(Reply("d", True))
    assert answered == {"prompt": "a\u2028b", "id": 1, "answer": "d", "ended": True}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("p.txt", "\n \n", "p.txt: no prompts in it"),
        ("p.jsonl", "", "p.jsonl: no prompts in it"),
        ("p.jsonl", '{"prompt": "a"}\n{"a\n', "line 2: not JSON"),
        ("p.jsonl", '{"prompt": "a"}\n\n{"prompt": " "}', "line 3: 'prompt' is not a text, or empty"),
        ("p.jsonl", '{"prompt": 1}', "line 1: 'prompt' is not a text"),
        ("p.jsonl", "[]", "line 1: expected an object with either"),
        ("p.jsonl", '{"prompt": "a", "messages": []}', "line 1: expected an object with either"),
        ("p.jsonl", '{"messages": []}', "nothing to answer"),
        ("p.jsonl", '{"messages": [{"role": "user"}]}', "is not a list of role"),
        ("p.jsonl", '{"messages": [{"role": "assistant", "content": "a"}]}', "nothing to answer"),
    ],
)
def test_invalid_prompts_are_refused(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        prompt_file.read(tmp_path / name)
    assert expected in str(refusal.value)


@pytest.mark.parametrize("name", ["p.txt", "p.jsonl"])
def test_a_byte_order_mark_is_not_part_of_the_first_prompt(tmp_path, name):
    line = "Olá!" if name == "p.txt" else '{"prompt": "Olá!"}'
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + line.encode())
    assert prompt_file.read(tmp_path / name) == [Prompt(1, {"prompt": "Olá!"})]


def test_an_unreadable_file_is_refused(tmp_path):
    (tmp_path / "latin.txt").write_bytes("Olá".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        prompt_file.read(tmp_path / "latin.txt")
    with pytest.raises(UserError, match="cannot be read"):
        prompt_file.read(tmp_path)
