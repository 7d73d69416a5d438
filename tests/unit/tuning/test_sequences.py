"""Tests of fitting threads to the maximum length: they are split between exchanges or cut, and losses are counted."""

from itertools import pairwise

import pytest
from chats import said, with_added
from costs import cost
from hypothesis import given, settings
from hypothesis import strategies as st
from official_templates import template
from tiny import FAMILIES, family_tokenizer
from tokenizers import AddedToken

from mothertongue.common.errors import UserError
from mothertongue.prompts import templates
from mothertongue.tuning import data, sequences

SYSTEM = {"role": "system", "content": "Seja breve."}


def thread(*sizes, system=True):
    """Return exchanges with the given numbers of words in question and answer; each word has its own number."""
    messages = [SYSTEM] if system else []
    for at, (asked, answered) in enumerate(sizes):
        messages.append({"role": "user", "content": " ".join(f"q{at}.{i}" for i in range(asked + 1))})
        messages.append({"role": "assistant", "content": " ".join(f"a{at}.{i}" for i in range(answered + 1))})
    return messages


def learned(encoded):
    return [label for sequence in encoded for label in sequence.labels if label >= 0]


def fit(threads, length, how="split", family="chatml", kind="bytes"):
    tokenizer = family_tokenizer(family, kind)
    return sequences.fit(threads, template(family, tokenizer), tokenizer, length, how)


def test_longer_threads_can_be_left_out():
    tokenizer = family_tokenizer("chatml", "bytes")
    own = template("chatml", tokenizer)
    short, long = thread((2, 2)), thread((40, 40))
    length = len(templates.encode(short, own, tokenizer).input_ids)
    found, account = sequences.fit([short, long], own, tokenizer, length, "leave_out")
    assert len(found) == account.sequences == account.left_out_threads == 1 and account.threads == 2
    assert not account.cut_tokens and not account.split_threads


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6),
    system=st.booleans(),
    length=st.integers(16, 400),
    how=st.sampled_from(["split", "cut"]),
)
def test_every_token_with_loss_is_in_one_sequence_or_counted_as_cut(family, kind, sizes, system, length, how):
    tokenizer = family_tokenizer(family, kind)
    own = template(family, tokenizer)
    messages = thread(*sizes, system=system)
    whole = templates.encode(messages, own, tokenizer)
    found, account = sequences.fit([messages], own, tokenizer, length, how)
    assert all(len(sequence.input_ids) <= length and sequence.targets for sequence in found)
    assert len(learned(found)) + account.cut_assistant_tokens == whole.targets
    if not account.cut_tokens:
        assert learned(found) == [label for label in whole.labels if label >= 0]
    assert (account.threads, account.sequences) == (1, len(found))
    assert account.threads_without_target == (not found)
    assert account.split_threads == (len(found) > 1)
    if len(whole.input_ids) <= length:
        assert found == [whole] and account == sequences.Account(threads=1, sequences=1)
    elif how == "cut":
        assert found in ([], [whole.cut(length)])


def test_each_part_starts_with_system_prompt_and_question_and_is_filled():
    tokenizer = family_tokenizer("chatml", "bytes")
    messages = thread(*[(5, 5)] * 5)
    exchange = len(templates.encode(messages[:3], template("chatml"), tokenizer).input_ids)
    two = len(templates.encode(messages[:5], template("chatml"), tokenizer).input_ids)
    found, account = fit([messages], two)
    assert exchange < two and account == sequences.Account(threads=1, sequences=3, split_threads=1)
    texts = [tokenizer.decode(sequence.input_ids) for sequence in found]
    begin = "<|im_start|>system\nSeja breve.<|im_end|>\n<|im_start|>user\n"
    assert [text.startswith(f"{begin}q{at}.0 ") for text, at in zip(texts, (0, 2, 4), strict=True)] == [True] * 3
    assert [text.count("<|im_start|>assistant") for text in texts] == [2, 2, 1]
    assert all(text.endswith("<|im_end|>\n") for text in texts)


def test_an_exchange_that_is_too_long_is_cut_at_its_end_and_counted():
    messages = thread((1, 1), (1, 100), (1, 1))
    found, account = fit([messages], 120)
    assert len(found) == 3 and [len(sequence.input_ids) for sequence in found][1] == 120
    assert (account.split_threads, account.cut_threads) == (1, 1)
    assert account.cut_assistant_tokens > 100 and account.cut_tokens == account.cut_assistant_tokens + 1  # its newline


def test_a_question_that_fills_the_length_has_no_target_and_is_counted():
    found, account = fit([thread((100, 2)), thread((1, 1))], 100)
    assert len(found) == 1
    assert (account.threads, account.sequences, account.threads_without_target, account.cut_threads) == (2, 1, 1, 1)
    rest, account = fit([thread((1, 1), (100, 2), (1, 1))], 100)
    assert len(rest) == 2 and account.threads_without_target == 0 and account.cut_threads == 1


def test_a_thread_without_an_answer_is_not_counted_as_cut():
    found, account = fit([thread((1, 1))[:2]], 400)
    assert found == [] and account == sequences.Account(threads=1, threads_without_target=1)


def test_accounts_of_threads_add_up():
    threads = [thread((3, 40), (2, 2)), thread((1, 1)), thread((90, 3))]
    each = [fit([one], 90)[1] for one in threads]
    assert fit(threads, 90)[1] == sum(each, sequences.Account())
    assert all(a.threads == b.threads == 1 for a, b in pairwise(each))


def test_a_thread_with_control_tokens_is_left_out_and_counted():
    tokenizer = with_added([AddedToken("@", special=True)])
    own = template("chatml", tokenizer)
    threads = [said("Olá!"), said("eu@aqui"), [*said("a"), *said("b@c")] * 20]
    found, account = sequences.fit(threads, own, tokenizer, 60, "split")
    assert found == sequences.fit(threads[:1], own, tokenizer, 60, "split")[0]
    assert account == sequences.Account(threads=3, sequences=1, refused_threads=2)
    rows = [{"messages": thread} for thread in threads]
    assert "refused threads 2" in str(data.tokenize(rows, own, tokenizer, "sft", 60, "split"))
    none = data.tokenize(rows[1:], own, tokenizer, "sft", 60, "split")
    with pytest.raises(UserError, match="nothing to train on: of 2 threads a message would become control tokens"):
        data.check_some(none, "sft")


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=30), length=st.integers(20, 400))
def test_each_part_contains_as_many_exchanges_as_fit(sizes, length):
    tokenizer = family_tokenizer("chatml", "bytes")
    own = template("chatml", tokenizer)
    system, *messages = thread(*[(size, 2) for size in sizes])
    exchanges = [messages[i : i + 2] for i in range(0, len(messages), 2)]
    expected = []
    while exchanges:
        count = 1
        while count < len(exchanges) and len(_encoded(system, exchanges[: count + 1], own, tokenizer)) <= length:
            count += 1
        expected.append(_encoded(system, exchanges[:count], own, tokenizer))
        exchanges = exchanges[count:]
    assert list(sequences._parts([system, *messages], own, tokenizer, length)) == expected


def _encoded(system, exchanges, own, tokenizer):
    return templates.encode([system, *(message for pair in exchanges for message in pair)], own, tokenizer)


@pytest.mark.costly
def test_the_cost_of_splitting_a_thread_grows_linearly():
    short, long = (thread(*[(2, 2)] * count, system=False) for count in (250, 1_000))
    assert cost(lambda: fit([long], 400)) < 8 * cost(*[lambda: fit([short], 400)] * 2)
