"""Tests of finding near-duplicates and evaluation prompts among conversations."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from steps import fetched

from mothertongue.dataset import contamination, duplicates, preferences, trees
from mothertongue.dataset.contamination import Questions
from mothertongue.dataset.ngrams import ngrams, words
from mothertongue.dataset.trees import Document

SAMPLE = Path("config/demo/messages.jsonl")


@pytest.fixture(scope="module")
def documents():
    """The best threads of the sample: no two are alike."""
    return [one for one in documents_of(fetched(SAMPLE), "a") if len(words(one.text)) > 40]


def find(*given):
    """The near-duplicates among documents."""
    return duplicates.find(*given)[0]


def documents_of(table, source):
    found = (trees.document(members, source) for members in trees.by_tree(trees.from_table(table)).values())
    return list(filter(None, found))


def varied(text, share, chance):
    """A text with about this share of its words exchanged, which lie together so that n-grams stay."""
    found = text.split(" ")
    count = max(1, round(share * len(found)))
    start = chance.randrange(len(found) - count)
    return " ".join([*found[:start], *("other" for _ in range(count)), *found[start + count :]])


def test_planted_duplicates_are_found_and_nothing_else(documents):
    chance = random.Random(1)
    planted, others = [], []
    for number, one in enumerate(documents):
        planted.append(Document(f"near{number}", "b", varied(one.text, 0.04, chance), 1))
        others.append(Document(f"far{number}", "b", varied(one.text, 0.5, chance), 1))
    everything = [*documents, *planted, *others]
    found = find(everything, 0.8, "best")
    expected = {
        near.tree
        for near, one in zip(planted, documents, strict=True)
        if duplicates._similarity(duplicates._shingles(near.text), duplicates._shingles(one.text)) >= 0.8
    }
    assert len(expected) > 0.8 * len(planted)
    assert {one.tree for one in found} == expected
    assert all(one.kept_source == "a" and one.similarity >= 0.8 for one in found)


def test_the_best_or_the_first_of_several_is_kept():
    long = " ".join(f"word{n}" for n in range(50))
    some = [Document("short", "a", long, 2), Document("long", "b", f"{long} more", 6), Document("x", "c", long, 1)]
    assert [(one.tree, one.kept_tree) for one in find(some, 0.8, "best")] == [("short", "long"), ("x", "long")]
    assert [(one.tree, one.kept_tree) for one in find(some, 0.8, "first")] == [("long", "short"), ("x", "short")]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_the_hashing_misses_few_pairs_at_the_threshold(threshold):
    rows = duplicates._rows(threshold)
    assert 1 - (1 - threshold**rows) ** (128 // rows) >= 0.995
    chance = random.Random(2)
    base = [[f"w{chance.randrange(10**6)}" for _ in range(300)] for _ in range(60)]
    pairs = [(" ".join(one), varied(" ".join(one), (1 - threshold) / 3, chance)) for one in base]
    some = [Document(f"{n}{side}", "", text, 1) for n, pair in enumerate(pairs) for side, text in zip("ab", pair)]  # noqa: B905
    near = [
        n
        for n, (a, b) in enumerate(pairs)
        if duplicates._similarity(*(set(ngrams(words(t), 5)) for t in (a, b))) >= threshold
    ]
    found = find(some, threshold, "first")
    assert len(found) >= 0.95 * len(near) and {one.tree for one in found} <= {f"{n}b" for n in near}


def test_letters_of_scripts_without_spaces_are_words():
    assert words("Die Tür, ２ naïve_x!") == ["die", "tür", "2", "naïve", "x"]
    assert words("東京タワー abc") == ["東", "京", "タ", "ワ", "ー", "abc"]
    assert words("हिन्दी भाषा, தமிழ் 한국어 cafe\u0301") == ["हिन्दी", "भाषा", "தமிழ்", "한국어", "café"]
    assert list(ngrams(["a", "b", "c"], 2)) == ["a b", "b c"] and list(ngrams(["a"], 5)) == ["a"]


LONG = "how do i bake a cake with three eggs and no sugar at all please"


def test_questions_are_held_by_texts_with_a_run_of_their_words_or_all_of_few():
    asked = Questions([LONG, "Who are you?", ""])
    assert list(asked.within("Tell me: HOW DO I bake a cake, with three eggs and no SUGAR at all!")) == [LONG]
    assert not list(asked.within("how do i bake a cake with three eggs and some sugar at all please"))
    assert list(asked.within("who are you")) == ["Who are you?"] and not list(asked.within("Who are you? I am me."))
    assert not list(asked.within("")) and not list(Questions([]).within(LONG))
    # Options and labels of a benchmark are no questions, and questions that share a run are all found.
    both = Questions([LONG, f"{LONG} now"], ["Yes", "1"])
    assert not list(both.within("yes")) and list(both.within(LONG)) == [LONG, f"{LONG} now"]


def test_conversations_that_share_a_system_message_or_have_no_words_are_no_duplicates():
    messages = []
    for number in range(30):
        rows = [
            ("system", "You are a helpful assistant. " * 40),
            ("prompter", f"what is number {number}"),
            ("assistant", "🙂" * (number + 1)),
        ]
        for at, (role, text) in enumerate(rows):
            messages.append({"message_id": f"{number}-{at}", "parent_id": f"{number}-{at - 1}" if at else None, "text": text,
                             "role": role, "message_tree_id": str(number)})  # fmt: skip
    missing = {name: [None] * len(messages) for name in ("rank", "created_date", "deleted", "review_result")}
    table = pa.table({name: [row[name] for row in messages] for name in messages[0]} | missing)
    documents = documents_of(table, "")
    assert len(documents) == 30 and "helpful" not in documents[0].text
    assert not find(documents, 0.8, "best")
    assert not find([Document("a", "", "🙂", 1), Document("b", "", "🙃", 1)], 0.8, "best")


def test_contaminated_threads_and_pairs_are_left_out_and_counted():
    messages = trees.from_table(fetched(SAMPLE))
    members = trees.by_tree(messages).values()
    selection, pairs = trees.select(messages), preferences.find_pairs(messages)
    question = next(one.text for one in selection.said() if len(words(one.text)) > 20)
    asked = [question, next(iter(pairs.pairs[0].prompt)).text]
    for how, whole, kept in (
        (trees.selections, selection, lambda one: [thread[0].tree for thread in one.threads]),
        (preferences.preferences, pairs, lambda one: [pair.chosen.tree for pair in one.pairs]),
    ):
        total, held = type(whole)(), {}
        found = [tree for one in Questions(asked).checked(how(members), total, held) for tree in kept(one)]
        assert held and set(held.values()) <= set(asked)
        assert found == [tree for tree in kept(whole) if tree not in held] and total.counted == len(found)
        names = ("trees", "messages") if how is trees.selections else ("questions", "replies")
        for before, after in ((getattr(whole, name), getattr(total, name)) for name in names):
            assert before.total() == after.total() and after["contaminated"] > 0
        none = type(whole)()
        assert [tree for one in Questions([]).checked(how(members), none, held) for tree in kept(one)] == kept(whole)
        assert all(getattr(none, name) == getattr(whole, name) for name in names)


def test_the_texts_of_benchmarks_are_those_of_their_test_splits(tmp_path):
    import datasets

    rows = {"question": [LONG], "choices": [["a", "b"]], "n": [1]}
    splits = datasets.DatasetDict(
        {"test": datasets.Dataset.from_dict(rows), "train": datasets.Dataset.from_dict({"t": ["seen"]})}
    )
    splits.save_to_disk(str(tmp_path / "one"))
    assert list(contamination._benchmark_texts(tmp_path)) == [LONG, "a", "b"]
