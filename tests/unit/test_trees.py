"""Which thread of a tree is chosen, and that every tree and message is accounted for."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.trees import Message, select


def message(id_, parent=None, role=None, rank=None, created="2023-01-01", **kwargs):
    """A message of tree `r`; ids of odd length are prompters unless told otherwise: r, ra, rab, …"""
    role = role or ("prompter" if len(id_) % 2 else "assistant")
    values = {"text": f"text {id_}", "deleted": False, "review_result": True, "status": "translated"} | kwargs
    parent = id_[:-1] or None if parent is None else parent
    return Message(id_, parent, "r", role, rank=rank, created=created, **values)


def chosen(*messages, how="best"):
    return [[m.id for m in thread] for thread in select(messages, how).threads]


def test_the_lowest_rank_is_taken_not_the_first():
    assert chosen(message("r"), message("ra", rank=2), message("rb", rank=0), message("rc", rank=1)) == [["r", "rb"]]


def test_ranked_come_before_unranked_and_a_group_needs_no_rank_0():
    assert chosen(message("r"), message("ra"), message("rb", rank=2), message("rc", rank=1)) == [["r", "rc"]]


def test_ties_go_to_the_earlier_then_to_the_smaller_id():
    late, early = message("ra", created="2023-02-01"), message("rb", created="2023-01-31")
    assert chosen(message("r"), late, early) == [["r", "rb"]]
    assert chosen(message("r"), message("rb"), message("ra")) == [["r", "ra"]]


@pytest.mark.parametrize("flaw", [{"deleted": True}, {"review_result": False}, {"status": "failed"}])
def test_an_unusable_reply_is_passed_over(flaw):
    assert chosen(message("r"), message("ra", rank=0, **flaw), message("rb", rank=1)) == [["r", "rb"]]


def test_review_result_null_is_usable():
    assert chosen(message("r"), message("ra", review_result=None)) == [["r", "ra"]]


def test_a_thread_is_cut_back_to_its_last_assistant_message():
    selection = select([message("r"), message("ra"), message("rax"), message("raxy", deleted=True)])
    assert [[m.id for m in thread] for thread in selection.threads] == [["r", "ra"]]
    assert selection.messages == {"in a thread": 2, "unanswered": 1, "deleted": 1}


def test_best_follows_one_prompter_and_all_follows_every_answered_one():
    tree = [message(i, rank=r) for i, r in [("r", None), ("ra", 0), ("rb", 1), ("rax", 1), ("ray", 0), ("raz", 2)]]
    tree += [message("raxp"), message("rayp", rank=1), message("rayq", rank=0)]
    assert chosen(*tree) == [["r", "ra", "ray", "rayq"]]
    assert chosen(*tree, how="all") == [["r", "ra", "ray", "rayq"], ["r", "ra", "rax", "raxp"]]


def test_all_keeps_the_thread_whose_questions_are_all_unanswered():
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
def test_a_tree_without_a_thread_says_why(messages, reason):
    selection = select(messages)
    assert selection.threads == []
    assert selection.trees == {reason: 1}
    assert selection.without_thread == {"r": reason}
    assert sum(selection.messages.values()) == len(messages)


def test_messages_below_orphans_and_unusable_ones_are_accounted_for():
    tree = [message("r"), message("ra", deleted=True), message("rax"), message("raxp"), message("rb")]
    tree += [message("zza", parent="missing", role="assistant"), message("zzb", parent="zza", role="prompter")]
    assert select(tree).messages == {
        "in a thread": 2,
        "deleted": 1,
        "below an unusable message": 2,
        "below a missing message": 2,
    }


@st.composite
def trees(draw):
    size = draw(st.integers(1, 25))
    messages = []
    for i in range(size):
        parent = draw(st.sampled_from([None, *messages])) if messages else None
        flip = draw(st.integers(0, 9)) == 0  # now and then a child in its parent's role
        role = "prompter" if parent is None or (parent.role == "assistant") != flip else "assistant"
        missing = parent is None and draw(st.integers(0, 4)) == 0
        messages.append(
            Message(
                f"m{i}",
                "gone" if missing else (parent.id if parent else None),
                "t",
                role,
                "text",
                draw(st.sampled_from([None, 0, 1, 2])),
                draw(st.sampled_from(["2023-01-01", "2023-01-02"])),
                draw(st.integers(0, 5)) == 0,
                draw(st.sampled_from([True, None, True, False])),
                draw(st.sampled_from(["translated", "native", "failed", "flagged"])),
            )
        )
    return messages


@given(trees(), st.sampled_from(["best", "all"]), st.randoms())
def test_invariants(messages, how, rng: random.Random):
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
