"""Tests of reading trees from files: they are those of all messages in memory, in the same order."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.dataset import trees
from mothertongue.dataset.tree_files import numbered_trees

MISSING = dict.fromkeys(("parent_id", "role", "rank", "created_date", "deleted", "review_result"))


@given(st.lists(st.integers(0, 8)), st.integers(1, 9), st.integers(1, 6), st.randoms())
def test_trees_are_those_of_all_messages_in_the_order_of_their_first(tmp_path_factory, owners, count, size, random):
    rows = [
        MISSING | {"message_id": str(at), "message_tree_id": f"tree {owner}", "text": "x" * random.randrange(9)}
        for at, owner in enumerate(owners)
    ]
    schema = pa.schema([(name, pa.string()) for name in trees.COLUMNS if name != trees.STATUS])
    whole = pa.Table.from_pylist(rows, schema)
    parts = [whole.slice(0, 0), *(whole.slice(start, size) for start in range(0, len(whole), size))]
    found = list(numbered_trees(parts, count, tmp_path_factory.mktemp("scratch")))
    assert [members for members, _ in found] == list(trees.by_tree(trees.from_table(whole)).values())
    assert all([message.id for message in members] == list(map(str, numbers)) for members, numbers in found)
