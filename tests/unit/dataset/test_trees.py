"""Tests of conversation trees: which threads are selected, and the account of every tree and message."""

import random
import time
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_trees import message, trees

from mothertongue.common.errors import UserError
from mothertongue.dataset.preferences import find_pairs
from mothertongue.dataset.trees import COLUMNS, Message, from_table, select


def chosen(*messages, how="best"):
    return [[m.id for m in thread] for thread in select(messages, how).threads]


def test_the_reply_with_the_lowest_rank_is_selected_not_the_first():
    assert chosen(message("r"), message("ra", rank=2), message("rb", rank=0), message("rc", rank=1)) == [["r", "rb"]]


def test_ranked_replies_precede_unranked_ones_also_without_rank_0():
    assert chosen(message("r"), message("ra"), message("rb", rank=2), message("rc", rank=1)) == [["r", "rc"]]


def test_ties_are_broken_by_date_and_then_by_id():
    late, early = message("ra", created="2023-02-01"), message("rb", created="2023-01-31")
    assert chosen(message("r"), late, early) == [["r", "rb"]]
    assert chosen(message("r"), message("rb"), message("ra")) == [["r", "ra"]]


BLANK = ["", " \n\t", "\ufeff", "\u200b\u200d\u2060", "\x00\x1b", "\u202e\u00a0", "\u3164\u2800\ufe0f", None]


@pytest.mark.parametrize("text", BLANK, ids=ascii)
def test_an_invisible_text_counts_as_empty_and_the_next_best_is_selected(text):
    tree = [message("r"), message("ra", rank=0, text=text), message("rb", rank=1), message("rax"), message("raxp")]
    selection = select(tree)
    assert [[m.id for m in thread] for thread in selection.threads] == [["r", "rb"]]
    assert selection.messages == {"below an unusable message": 2, "empty": 1, "in a thread": 2}
    assert select([message("r", text=text), message("ra")]).trees == {"root empty": 1}
    replies = [message("ra", rank=0, text=text), message("rb", rank=1), message("rc", rank=2)]
    found = find_pairs([message("r"), *replies])
    assert [(pair.chosen.id, pair.rejected.id) for pair in found.pairs] == [("rb", "rc")]
    assert found.replies == {"chosen": 1, "empty": 1, "rejected": 1}


@pytest.mark.parametrize("text", ["👍", "e\u0301", "。", "\u200f.", "👩\u200d👩"])
def test_a_text_of_one_visible_character_is_not_empty(text):
    assert message("r", text=text).objection is None


@pytest.mark.parametrize("flaw", [{"deleted": True}, {"review_result": False}, {"status": "failed"}, {"text": " "}])
def test_an_unusable_reply_is_skipped(flaw):
    assert chosen(message("r"), message("ra", rank=0, **flaw), message("rb", rank=1)) == [["r", "rb"]]


def test_a_message_without_review_result_is_usable():
    assert chosen(message("r"), message("ra", review_result=None)) == [["r", "ra"]]


def test_a_thread_is_cut_back_to_its_last_assistant_message():
    selection = select([message("r"), message("ra"), message("rax"), message("raxy", deleted=True)])
    assert [[m.id for m in thread] for thread in selection.threads] == [["r", "ra"]]
    assert selection.messages == {"in a thread": 2, "unanswered": 1, "deleted": 1}


def test_best_follows_one_question_and_all_follows_every_answered_question():
    tree = [message(i, rank=r) for i, r in [("r", None), ("ra", 0), ("rb", 1), ("rax", 1), ("ray", 0), ("raz", 2)]]
    tree += [message("raxp"), message("rayp", rank=1), message("rayq", rank=0)]
    assert chosen(*tree) == [["r", "ra", "ray", "rayq"]]
    assert chosen(*tree, how="all") == [["r", "ra", "ray", "rayq"], ["r", "ra", "rax", "raxp"]]


def test_all_keeps_a_thread_whose_further_questions_are_all_unanswered():
    assert chosen(message("r"), message("ra"), message("rax"), message("ray"), how="all") == [["r", "ra"]]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([message("r")], "no reply"),
        ([message("r"), message("ra", deleted=True)], "no usable reply"),
        ([message("r", review_result=False), message("ra")], "root rejected in review"),
        ([message("r", status="failed"), message("ra", status="failed")], "root failed translation"),
        ([message("r", deleted=True), message("ra")], "root deleted"),
        ([message("ra", parent="missing"), message("rax", parent="ra")], "no root"),
        ([message("r", role="assistant")], "root is not a prompter"),
    ],
)
def test_a_tree_without_a_thread_is_counted_with_the_reason(messages, reason):
    selection = select(messages)
    assert selection.threads == []
    assert selection.trees == {reason: 1}
    assert selection.without_thread == {"r": reason}
    assert sum(selection.messages.values()) == len(messages)


def test_a_teachers_failed_answer_is_counted_as_one():
    failed = [message("ra", status="failed", route="teacher"), message("rb", status="failed", route="none")]
    tree = [message("r"), *failed, message("rc")]
    columns = {"message_id": "id", "parent_id": "parent", "message_tree_id": "tree", "created_date": "created"}
    rows = [{name: getattr(one, columns.get(name, name)) for name in COLUMNS} for one in tree]
    assert from_table(pa.Table.from_pylist(rows)) == tree
    assert select(tree).messages == {"in a thread": 2, "failed answer": 1, "failed translation": 1}
    assert find_pairs(tree).replies == {"one usable reply": 1, "failed answer": 1, "failed translation": 1}


def test_messages_below_orphans_and_unusable_ones_are_accounted_for():
    tree = [message("r"), message("ra", deleted=True), message("rax"), message("raxp"), message("rb")]
    tree += [message("zza", parent="missing", role="assistant"), message("zzb", parent="zza", role="prompter")]
    assert select(tree).messages == {
        "in a thread": 2,
        "deleted": 1,
        "below an unusable message": 2,
        "below a missing message": 2,
    }


def chain(turns, replies=1):
    """Return a conversation of `turns` turns, deepest first; each question has `replies` replies of different ranks."""
    messages = []
    for turn in range(turns):
        parent = f"m{turn - 1}" if turn else None
        role = "assistant" if turn % 2 else "prompter"
        messages += [
            Message(
                f"m{turn}" if not rank else f"m{turn}.{rank}", parent, "t", role, f"{rank}", rank, "", False, True, ""
            )
            for rank in range(replies if turn % 2 else 1)
        ]
    return messages[::-1]


def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.costly
@pytest.mark.parametrize("how", ["best", "all"])
def test_long_conversations_take_linear_time(how):
    turns = chain(20_000)
    assert seconds(lambda: select(turns, how)) < 3  # 30 or more if the depth of each message is computed anew
    assert seconds(lambda: find_pairs(turns)) < 3
    (thread,) = select(turns, how).threads
    assert [m.id for m in thread] == [f"m{turn}" for turn in range(20_000)]


def test_many_replies_to_one_message_take_linear_time():
    replies = chain(2, 10_000)
    assert seconds(lambda: find_pairs(replies, "best_vs_all")) < 2
    assert find_pairs(replies, "best_vs_all").replies == {"chosen": 1, "rejected": 9_999}


def test_a_long_reply_is_not_copied_for_each_worse_reply():
    long = message("ra", rank=0, text=" " + "a" * 2_000_000)
    replies = [long, *(message(f"r{n}", "r", "assistant", n, text=long.text) for n in range(1, 3))]
    replies += [message(f"r{n}", "r", "assistant", n) for n in range(3, 20_000)]
    assert seconds(lambda: find_pairs([message("r"), *replies])) < 2  # 4 or more if it is copied


def test_conversations_with_a_shared_beginning_are_limited_in_size():
    """Each conversation repeats the beginning: the file would grow with the square of their length."""
    branches = [Message(f"{m.id}?", m.id, "t", "prompter", "?", 1, "", False, True, "") for m in chain(3_000)[::2]]
    answers = [Message(f"{m.id}!", m.id, "t", "assistant", "!", 0, "", False, True, "") for m in branches]
    with pytest.raises(UserError, match=r"tree t: the threads up to here hold .* leave out its longest conversations"):
        select([*chain(3_000), *branches, *answers], "all")
    assert len(select([*chain(3_000), *branches, *answers]).threads) == 1
    with pytest.raises(UserError, match="tree t: the pairs up to here hold "):
        find_pairs(chain(3_000, 2))
    assert len(find_pairs(chain(300, 2)).pairs) == 150


def long_beginning(text, turns):
    """Return a long question with two short replies, the better of which `turns` conversations continue."""
    tree = [message("r", text=text), message("ra", rank=0), message("rb", rank=1)]
    for number in range(turns):
        question = message(f"q{number}", parent="ra", role="prompter")
        tree += [question, *(message(f"{question.id}{n}", question.id, "assistant", n) for n in range(2))]
    return tree


def test_many_conversations_with_a_long_beginning_are_limited_in_size():
    """Each conversation repeats the beginning: the file would grow with the square of the number of messages."""
    small, large = long_beginning("a" * 100_000, 150), long_beginning("a" * 100_000, 300)
    assert len(select(small, "all").threads) == 150
    assert len(find_pairs(small).pairs) == 151
    with pytest.raises(UserError, match=r"tree r: the threads up to here hold .* characters, more than 200 times the"):
        select(large, "all")
    with pytest.raises(UserError, match=r"tree r: the pairs up to here hold .* characters, more than 200 times the"):
        find_pairs(large)
    # One long reply and many short ones.
    with pytest.raises(UserError, match=r"tree r: the pairs up to here hold .* characters"):
        replies = [
            message("ra", rank=0, text="a" * 100_000),
            *(message(f"r{n}", "r", "assistant", n) for n in range(1, 300)),
        ]
        find_pairs([message("r"), *replies], "best_vs_all")


def test_a_message_that_is_its_own_ancestor_is_named():
    circle = [message("r"), message("ra", parent="rb", role="assistant"), message("rb", parent="ra", role="prompter")]
    for work in (select, find_pairs):
        with pytest.raises(UserError, match=r"message r[ab] is its own ancestor"):
            work(circle)


@given(trees(), st.sampled_from(["best", "all"]), st.randoms())
def test_threads_and_account_are_valid_for_any_tree(messages, how, rng: random.Random):
    selection = select(messages, how)
    for thread in selection.threads:
        assert thread[0].parent is None
        assert [m.role for m in thread] == ["prompter", "assistant"] * (len(thread) // 2)
        assert all(child.parent == parent.id for parent, child in pairwise(thread))
        assert all(m.objection is None for m in thread)
        for parent, reply in zip(thread[::2], thread[1::2], strict=True):
            rivals = [m for m in messages if m.parent == parent.id and m.role == "assistant" and m.objection is None]
            assert reply == min(rivals, key=lambda m: m.preference)
    assert how == "all" or len(selection.threads) <= 1
    assert sum(selection.messages.values()) == len(messages)
    assert selection.messages.get("in a thread", 0) == len({m.id for thread in selection.threads for m in thread})
    assert len({thread[-1].id for thread in selection.threads}) == len(selection.threads)
    shuffled = messages[:]
    rng.shuffle(shuffled)
    again = select(shuffled, how)
    assert Counter(map(tuple, again.threads)) == Counter(map(tuple, selection.threads))
    assert again.messages == selection.messages
