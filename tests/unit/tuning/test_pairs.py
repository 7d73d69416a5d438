"""Tests of tokenizing preference pairs: a shared prompt, an end of turn after each answer, an account of all losses."""

from pathlib import Path

import pytest
from chats import with_added
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, family_tokenizer
from tokenizers import AddedToken

from mothertongue.prompts import templates
from mothertongue.tuning.pairs import encode_pairs

words = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(lambda t: t.strip())


def message(role, content):
    return {"role": role, "content": content}


def row(chosen, rejected, question="Quanto é 2 + 2?"):
    return {
        "prompt": [message("system", "Responda em português."), message("user", question)],
        "chosen": [message("assistant", chosen)],
        "rejected": [message("assistant", rejected)],
    }


def setting(family, kind="bytes"):
    tokenizer = family_tokenizer(family, kind)
    template = templates.read_template(Path(f"config/templates/{family}.jinja"))
    return tokenizer, templates.with_tokens_of(template, tokenizer)


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=25)
@given(chosen=words, rejected=words)
def test_a_pair_has_the_tokens_of_a_thread_with_either_answer(family, kind, chosen, rejected):
    tokenizer, template = setting(family, kind)
    one = row(chosen, rejected)
    assume(chosen.strip() != rejected.strip())
    for pair in encode_pairs([one], template, tokenizer, 10_000)[0]:
        for side, answer in ((pair.chosen, "chosen"), (pair.rejected, "rejected")):
            whole = templates.encode([*one["prompt"], *one[answer]], template, tokenizer)
            read = pair.prompt + side
            assert whole.input_ids[: len(read)] == read  # tokens after the end of turn are left out
            assert side[-1] == templates.end_of_turn(template, tokenizer)
            learned = [label for label in whole.labels if label >= 0]
            assert side[-len(learned) :] == learned


def test_long_answers_are_cut_and_pairs_with_long_prompts_left_out():
    tokenizer, template = setting("chatml")
    short, long = row("É 4.", "Não sei."), row("É 4. " * 200, "Não sei. " * 200)
    no_room, same = row("a", "b", question="Diga. " * 400), row("É 4. " * 200 + "a", "É 4. " * 200 + "b")
    pairs, account = encode_pairs([short, long, no_room, same], template, tokenizer, 200)
    assert account["pairs"] == len(pairs) == 2
    assert account["cut_pairs"] == account["too_long_prompts"] == account["same_once_cut"] == 1
    assert account["cut_tokens"] > 0 and account["cut_chosen"] == account["cut_rejected"] == 1
    assert all(len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) <= 200 for pair in pairs)
    assert encode_pairs([no_room], template, tokenizer, 200)[0] == encode_pairs([], template, tokenizer, 200)[0] == []


def test_the_side_that_loses_its_end_is_counted_and_such_pairs_can_be_left_out():
    """A model learns to prefer answers without an end where the chosen ones alone have lost it."""
    tokenizer, template = setting("chatml")
    rows = [row("É 4. " * 200, "Não sei."), row("É 4.", "Não sei. " * 200), row("É 4.", "Não sei.")]
    pairs, account = encode_pairs(rows, template, tokenizer, 200)
    assert (len(pairs), account["cut_chosen"], account["cut_rejected"], account["cut_pairs"]) == (3, 1, 1, 2)
    kept, account = encode_pairs(rows, template, tokenizer, 200, leave_out=True)
    assert kept == pairs[2:] and account["left_out_pairs"] == 2 and not account["cut_pairs"]
    end = templates.end_of_turn(template, tokenizer)
    assert kept[0].chosen[-1] == kept[0].rejected[-1] == end != pairs[0].chosen[-1]


def test_pairs_with_control_tokens_are_left_out_and_counted():
    tokenizer, template = with_added([AddedToken("@", special=True)]), setting("chatml")[1]
    rows = [row("É 4.", "Não sei."), row("@", "a"), row("a", "@"), row("a", "b", question="@")]
    pairs, account = encode_pairs(rows, template, tokenizer, 1_000)
    assert len(pairs) == account["pairs"] == 1 and account["refused_pairs"] == 3
