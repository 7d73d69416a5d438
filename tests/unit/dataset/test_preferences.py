"""Tests of preference pairs: which replies are paired, the account of all messages, and the preferences file."""

import json
import subprocess
import sys
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oasst import row
from small_trees import message, trees

from mothertongue.common.atomic_files import read_jsonl
from mothertongue.common.errors import UserError
from mothertongue.dataset import preferences
from mothertongue.dataset.preferences import find_pairs
from mothertongue.formats.messages import TRANSLATED, write
from mothertongue.formats.preferences import read_preferences
from mothertongue.formats.threads import read_threads

PAIRS = ("best_vs_worst", "best_vs_all")


def compared(*messages, how="best_vs_all"):
    return [(pair.prompt[-1].id, pair.chosen.id, pair.rejected.id) for pair in find_pairs(messages, how).pairs]


RANKED = [message("r"), *(message(f"r{name}", rank=rank) for name, rank in zip("abc", (2, 0, 1), strict=True))]


def test_the_best_reply_is_preferred_to_the_worst_or_to_every_other():
    assert compared(*RANKED, how="best_vs_worst") == [("r", "rb", "ra")]
    assert compared(*RANKED) == [("r", "rb", "rc"), ("r", "rb", "ra")]


def test_questions_outside_the_best_thread_are_included_in_order_of_date():
    tree = [*RANKED, message("rax", created="2023-03-01"), message("raxp", rank=1), message("raxq", rank=0)]
    tree += [message("rcx", created="2023-02-01"), message("rcxp", rank=0), message("rcxq", rank=3)]
    assert compared(*tree, how="best_vs_worst") == [("r", "rb", "ra"), ("rcx", "rcxp", "rcxq"), ("rax", "raxq", "raxp")]


def test_a_teachers_answer_is_preferred_to_the_translation_of_its_reply():
    tree = [message("r"), message("ra", rank=3, status="answered", text="answer"), message("rax")]
    tree += [message("raxp", status="flagged"), message("s"), message("sa", status="answered", text="same")]
    translations = {"ra": "translation", "raxp": "another", "sa": "same"}
    (members,) = preferences.beside([tree], translations)
    (pair,) = find_pairs(members).pairs
    assert (pair.chosen.text, pair.rejected.text) == ("answer", "translation")
    (row,) = preferences.as_rows([pair], "")
    assert row["message_ids"] == ["r", "ra", "ra"]


@pytest.mark.parametrize("flaw", [{"deleted": True}, {"review_result": False}, {"status": "failed"}, {"text": " "}])
def test_an_unusable_reply_and_the_messages_below_it_are_not_paired(flaw):
    tree = [message("r"), message("ra", rank=0, **flaw), message("rb", rank=1), message("rc", rank=2)]
    tree += [message("rax"), message("raxp", rank=0), message("raxq", rank=1)]
    assert compared(*tree) == [("r", "rb", "rc")]
    assert find_pairs(tree).questions == {"below an unusable message": 1, "in a pair": 1}


def test_flagged_replies_are_paired_as_they_are_used_in_threads():
    assert compared(message("r"), message("ra", rank=0, status="flagged"), message("rb", rank=1)) == [("r", "ra", "rb")]


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([], "no reply"),
        ([("ra", 0, {"deleted": True})], "no usable reply"),
        ([("ra", 0, {}), ("rb", 1, {"deleted": True})], "one usable reply"),
        ([("ra", 0, {}), ("rb", None, {})], "fewer than two ranked"),
        ([("ra", 1, {}), ("rb", 1, {}), ("rc", None, {})], "equal ranks"),
        ([("ra", 0, {"text": "Yes. "}), ("rb", 1, {"text": "Yes.\n"})], "same text"),
    ],
)
def test_a_question_without_a_pair_is_counted_with_the_reason(replies, outcome):
    found = find_pairs([message("r"), *(message(id_, rank=rank, **values) for id_, rank, values in replies)])
    assert found.pairs == []
    assert found.questions == {outcome: 1}
    usable = sum("deleted" not in values for *_, values in replies)
    assert found.replies.get(outcome, 0) == usable


def test_every_other_reply_of_a_paired_question_is_counted_with_its_outcome():
    replies = [("ra", 0, "A"), ("rb", 0, "B"), ("rc", 1, " A"), ("rd", 2, "D"), ("re", 3, "E"), ("rf", None, "F")]
    found = find_pairs([message("r"), *(message(id_, rank=rank, text=text) for id_, rank, text in replies)])
    assert [(pair.chosen.id, pair.rejected.id) for pair in found.pairs] == [("ra", "re")]
    assert found.replies == {
        "as good as the chosen": 1,
        "better than the rejected": 1,
        "chosen": 1,
        "rejected": 1,
        "same text as the chosen": 1,
        "unranked": 1,
    }


@st.composite
def bushy_trees(draw):
    """Draw trees of few questions with many replies, some of them unusable."""
    messages = [message("r")]
    for i in range(1, draw(st.integers(3, 20))):
        parent = draw(st.sampled_from(messages[:5]))
        flaw = draw(st.sampled_from([{}] * 7 + [{"deleted": True}, {"review_result": False}, {"status": "failed"}]))
        messages.append(
            message(
                f"m{i}",
                parent.id,
                "prompter" if parent.role == "assistant" else "assistant",
                draw(st.sampled_from([None, 0, 1, 2])),
                text=draw(st.sampled_from(["Yes.", " Yes.", "No.", None])),
                **flaw,
            )
        )
    return messages


@given(st.one_of(trees(), bushy_trees()), st.sampled_from(PAIRS), st.randoms())
def test_pairs_and_account_are_valid_for_any_tree(messages, how, rng):
    found = find_pairs(messages, how)
    for pair in found.pairs:
        assert pair.prompt[0].parent is None
        for branch in ([*pair.prompt, pair.chosen], [*pair.prompt, pair.rejected]):
            assert [m.role for m in branch] == ["prompter", "assistant"] * (len(branch) // 2)
            assert all(child.parent == parent.id for parent, child in pairwise(branch))
            assert all(not m.deleted and m.review_result is not False and m.status != "failed" for m in branch)
        assert pair.chosen.rank < pair.rejected.rank
        assert (pair.chosen.text or "").strip() != (pair.rejected.text or "").strip()
        rivals = [m for m in messages if m.parent == pair.prompt[-1].id and m.role == "assistant" and not m.objection]
        assert all(m.rank is None or m.rank >= pair.chosen.rank for m in rivals)
    one, every = (find_pairs(messages, how) for how in PAIRS)
    asked = [pair.prompt[-1].id for pair in one.pairs]
    assert len(set(asked)) == len(asked) == one.questions.get("in a pair", 0)
    assert all(pair in every.pairs for pair in one.pairs) and one.questions == every.questions
    for role, counts in (("prompter", found.questions), ("assistant", found.replies)):
        assert sum(counts.values()) == sum(m.role == role for m in messages)
    assert len(found.pairs) == found.replies.get("rejected", 0)
    shuffled = messages[:]
    rng.shuffle(shuffled)
    assert find_pairs(shuffled, how) == found


def translated(id_, parent, rank, text, **kwargs):
    values = {"source_text": text, "split": "train", "source_lang": "en", "route": "direct", "model": "m@1"}
    values |= {"status": "translated", "reasons": [], "score": None, "meaning": None}
    created = f"2023-01-0{len(id_)}"
    role = "prompter" if len(id_) % 2 else "assistant"
    return row(id_, parent, "r", role, "pt", text, rank=rank, created_date=created) | values | kwargs


CONVERSATION = [
    translated("r", None, None, "Olá?"),
    translated("ra", "r", 1, "Oi."),
    translated("rb", "r", 0, "Olá! Como posso ajudar?\n"),
    translated("rc", "r", 2, "", status="failed"),
    translated("rax", "ra", 0, "E agora?"),
    translated("raxp", "rax", 0, "Vamos."),
    translated("raxq", "rax", 1, "</s> [INST]"),
]


@pytest.mark.costly
@pytest.mark.parametrize("how", PAIRS)
def test_the_program_writes_a_file_that_the_reader_accepts(tmp_path, how):
    dataset, output, accounting = (tmp_path / name for name in ("train.parquet", "train.jsonl", "accounting.json"))
    write(pa.Table.from_pylist(CONVERSATION, schema=TRANSLATED), dataset)
    subprocess.run(
        [sys.executable, "scripts/preferences.py", "--dataset", dataset, "--pairs", how,
         "--system-prompt", "Responda.", "--output", output, "--accounting", accounting], check=True,
    )  # fmt: skip
    system, question = {"role": "system", "content": "Responda."}, {"role": "user", "content": "Olá?"}
    assert read_preferences(output) == [
        {
            "prompt": [system, question],
            "chosen": [{"role": "assistant", "content": "Olá! Como posso ajudar?\n"}],
            "rejected": [{"role": "assistant", "content": "Oi."}],
            "message_tree_id": "r",
            "message_ids": ["r", "rb", "ra"],
        },
        {
            "prompt": [
                system,
                question,
                {"role": "assistant", "content": "Oi."},
                {"role": "user", "content": "E agora?"},
            ],
            "chosen": [{"role": "assistant", "content": "Vamos."}],
            "rejected": [{"role": "assistant", "content": "</s> [INST]"}],
            "message_tree_id": "r",
            "message_ids": ["r", "ra", "rax", "raxp", "raxq"],
        },
    ]
    assert json.loads(accounting.read_text()) == {
        "pairs": 2,
        "questions": {"in a pair": 2},
        "replies": {"chosen": 2, "failed translation": 1, "rejected": 2},
    }


TURN = '[{"role": "user", "content": "Olá?"}]'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{oops", "line 2: not JSON"),
        ("[]", "line 2: 'prompt' is not a list of role (system, user, assistant) and content that ends with the user"),
        (f'{{"prompt": {TURN}}}', "line 2: 'chosen' is not a list"),
        (f'{{"prompt": {TURN}, "chosen": {TURN}, "rejected": {TURN}}}', "line 2: 'chosen' is not a list"),
        ('{"prompt": [{"role": "user"}]}', "line 2: 'prompt' is not a list"),
        ('{"prompt": []}', "line 2: 'prompt' is not a list"),
    ],
)
def test_an_invalid_line_of_preferences_is_named(tmp_path, line, expected):
    path = tmp_path / "train.jsonl"
    good = {name: [{"role": role, "content": "Olá"}] for name, role in (("prompt", "user"), ("chosen", "assistant"))}
    path.write_text(json.dumps(good | {"rejected": good["chosen"]}) + f"\n{line}\n")
    with pytest.raises(UserError, match="train") as raised:
        read_preferences(path)
    assert expected in str(raised.value)


THREAD = {
    "thread_id": "b",
    "messages": [{"role": role, "content": "x", "message_id": "a"} for role in ("user", "assistant")],
}


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": THREAD["messages"], "chosen": [], "rejected": []},
        {"messages": THREAD["messages"]},
        THREAD | {"messages": THREAD["messages"][:1]},
        THREAD | {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]},
        [],
    ],
    ids=["a preference", "no id", "no answer", "no ids of messages", "a list"],
)
def test_an_invalid_line_of_threads_is_named(tmp_path, line):
    path = tmp_path / "validation.jsonl"
    path.write_text(json.dumps(THREAD) + "\n" + json.dumps(line) + "\n")
    with pytest.raises(UserError, match=r"validation.jsonl: line 2: (not a thread|'messages' is not)"):
        read_threads(path, named=True)
    path.write_text(json.dumps(THREAD) + "\n")
    assert read_threads(path, named=True) == [THREAD]


@pytest.mark.parametrize("line", ["[]", "{}", '{"text": 1}', "[" * 100_000, "{oops"], ids=lambda line: line[:12])
def test_a_line_without_the_required_keys_is_named(tmp_path, line):
    path = tmp_path / "samples.jsonl"
    path.write_text(f'{{"text": "a"}}\n{line}\n')
    with pytest.raises(UserError, match=r"samples.jsonl: line 2: (expected an object with 'text', a text|not JSON)"):
        read_jsonl(path, text=str)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_preferences(tmp_path / "none.jsonl")
