"""Tests of mixing threads: shares to within one thread, repetition, replay, and the account."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.common.errors import UserError
from mothertongue.dataset import mix


def counted(name, *tokens):
    return [mix.Counted({"thread_id": f"{name}{n}", "messages": []}, count) for n, count in enumerate(tokens)]


def total(*groups):
    return sum(thread.tokens for group in groups for thread in group.drawn)


sizes = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(sizes, sizes, sizes, st.floats(0.05, 0.9), st.floats(0.02, 0.5), st.integers(0, 3))
def test_every_share_is_met_to_within_one_thread(first, second, english, share, replayed, seed):
    groups = {"a": mix.Group(counted("a", *first), share), "b": mix.Group(counted("b", *second), 1 - share)}
    replay = mix.Group(counted("en", *english), replayed)
    said = mix.draw(groups, 4, seed, replay)
    whole = total(*groups.values())
    for name, sizes_of in (("a", first), ("b", second)):
        asked = groups[name].asked * whole
        # The total itself is off by as much as the groups together.
        assert abs(total(groups[name]) - asked) <= max(first) + max(second)
        times = [sum(one is thread for one in groups[name].drawn) for thread in groups[name].threads]
        assert max(times) <= 4 and max(times) - min(times) <= 1, sizes_of
    if not said:
        # Without a word, one group is used whole, and the replay has its share.
        assert any(len({one.name for one in group.drawn}) == len(group.threads) for group in groups.values())
        everything = whole + total(replay)
        assert abs(total(replay) - replayed * everything) <= max(english) + max(first) + max(second)


def test_threads_are_repeated_no_more_than_allowed_and_it_is_said():
    groups = {"large": mix.Group(counted("l", *[10] * 100), 0.5), "small": mix.Group(counted("s", *[10] * 5), 0.5)}
    assert mix.draw(groups, 4, 1) == ["small is repeated 4 times, and the others are cut"]
    assert [total(group) for group in groups.values()] == [200, 200]
    assert mix.draw(groups, 30, 1) == []
    assert [total(group) for group in groups.values()] == [1000, 1000]
    account = groups["small"].as_json(2000)
    assert account == {
        "asked": 0.5,
        "share": 0.5,
        "tokens": 1000,
        "threads": 100,
        "different_threads": 5,
        "left_out_threads": 0,
        "tokens_there": 50,
    }


def test_without_shares_every_thread_is_used_once_and_what_is_not_there_is_said():
    everything = mix.Group(counted("a", 5, 7, 9), 1.0)
    assert mix.draw({mix.ALL: everything}, 4, 1, mix.Group(counted("en", 1), 0.5)) == [
        "replay is repeated 4 times, and still less than its share"
    ]
    assert total(everything) == 21 and len(everything.drawn) == 3
    assert mix.draw({mix.ALL: everything}, 4, 1, mix.Group([], 0.5)) == ["there is no thread to replay"]
    small = mix.draw({mix.ALL: everything}, 4, 1, mix.Group(counted("en", 900), 0.01))
    assert small == ["the share of replay is less than half of any thread, and nothing is replayed"]
    groups = {"a": mix.Group(counted("a", 5), 0.5), "b": mix.Group([], 0.5)}
    assert mix.draw(groups, 4, 1) == ["there is no thread of b"] and total(*groups.values()) == 5


def test_the_rows_depend_on_seed_and_ids_alone_and_repetitions_are_numbered():
    threads = counted("a", *range(1, 30))

    def drawn(seed, order):
        groups = {"a": mix.Group(order, 0.3), "b": mix.Group(counted("b", *[40] * 30), 0.7)}
        mix.draw(groups, 4, seed)
        return [row["thread_id"] for row in mix.rows_of(groups.values(), seed)]

    assert drawn(1, threads) == drawn(1, threads[::-1]) != drawn(2, threads)
    assert len(set(drawn(1, threads))) == len(drawn(1, threads)) and any("#2" in name for name in drawn(1, threads))


def dataset(**columns):
    return pa.table({"message_id": ["a", "b", "c"], "status": ["native", "native", "translated"], **columns})


def thread(*ids):
    system = {"role": "system", "content": "s", "message_id": None}
    return {"thread_id": ids[-1], "messages": [system, *({"message_id": id_} for id_ in ids)]}


def test_groups_are_sources_or_native_and_translated():
    threads = [thread("a", "b"), thread("b", "c"), thread("c")]
    assert mix.group_names(threads, dataset(), {}) == ["all"] * 3
    assert mix.group_names(threads, dataset(), {"native": 0.5, "translated": 0.5}) == ["native"] + ["translated"] * 2
    assert mix.group_names(threads, dataset(), {"native": 1.0}) == ["native", None, None]
    # A system prompt in a file written by hand may have no id at all.
    by_hand = {"thread_id": "b", "messages": [{"role": "system", "content": "s"}, {"message_id": "b"}]}
    assert mix.group_names([by_hand], dataset(), {"native": 1.0}) == ["native"]
    sources = dataset(source=["x", "x", "y"])
    assert mix.group_names(threads, sources, {"x": 0.5, "y": 0.5}) == ["x", "x", "y"]
    for shares, table, expected in [
        ({"native": 0.5, "x": 0.5}, sources, "either of sources, or of native and translated"),
        ({"z": 1.0}, sources, r"no source 'z' \(there are x, y\)"),
        ({"x": 1.0}, dataset(), "there is one source"),
    ]:
        with pytest.raises(UserError, match=expected):
            mix.group_names(threads, table, shares)
