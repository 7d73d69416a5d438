"""The splits of a dataset as one table, and what must hold over all its files."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.errors import UserError
from mothertongue.common.languages import language_of
from mothertongue.common.progress import first, log
from mothertongue.formats.messages import MESSAGES, OASST, SOURCE, is_validation


def combine_splits(tables: dict[str, pa.Table], validation: float, source: str = "") -> pa.Table:
    """Combine one table per split into one table with the columns `split` and `source_lang`.

    `source` is the name of the dataset among several, empty for the only one: ids then begin with it, and the column
    `source` has it.

    Where there is no validation split, take the share `validation` (0 to 1) of the trees, chosen by hash. Raise
    UserError where a message or a tree is in two splits, where no tree has a root, and where there are replies but the
    parents of all are missing.
    """
    where = f"sources.{source}.dataset" if source else "source.dataset"
    parts = []
    for split, table in tables.items():
        if source:
            table = _prefixed(table, source)
        trees = table["message_tree_id"].to_pylist()
        if "validation" in tables:
            splits = [split] * len(trees)
        else:
            splits = ["validation" if is_validation(tree, validation) else "train" for tree in trees]
        languages = [language_of(tag) for tag in table["lang"].to_pylist()]
        table = table.append_column("split", pa.array(splits, pa.string()))
        parts.append(table.append_column("source_lang", pa.array(languages, pa.string())).cast(MESSAGES))
    table = pa.concat_tables(parts)
    split_of: dict[str, str] = {}
    for tree, split in zip(table["message_tree_id"].to_pylist(), table["split"].to_pylist(), strict=True):
        if split_of.setdefault(tree, split) != split:
            raise UserError(f"{where}: tree {tree} stands in the train and in the validation split")
    check_unique(table["message_id"].to_pylist(), range(1, len(table) + 1), where, "row")
    _check_roots(table, list(split_of), where)
    _check_parents(table, where)
    return table.append_column(SOURCE, pa.array([source] * len(table))) if source else table


def _prefixed(table: pa.Table, source: str) -> pa.Table:
    """Return messages whose ids begin with the name of their source, so that no other has one of them."""
    for name in ("message_id", "parent_id", "message_tree_id"):
        ids = pc.binary_join_element_wise(pa.scalar(source), table[name], ":")
        table = table.set_column(table.column_names.index(name), OASST.field(name), ids)
    return table


def check_unique(ids: list[str], lines: Iterable[int], where: str, unit: str) -> None:
    """Raise UserError at the second use of a message_id."""
    first: dict[str, int] = {}
    for line, message in zip(lines, ids, strict=True):
        if message in first:
            raise UserError(f"{where}: {unit} {line}: message_id {message} was used before, in {unit} {first[message]}")
        first[message] = line


def _check_roots(table: pa.Table, trees: list[str], where: str) -> None:
    """Raise UserError where no tree has a root; log the number of trees without one."""
    roots = set(table["message_tree_id"].filter(table["parent_id"].is_null()).to_pylist())
    if not roots:
        raise UserError(
            f"{where}: none of {len(trees):,} trees has a root: the first message of a tree has parent_id null"
        )
    if lost := [tree for tree in trees if tree not in roots]:
        log(
            f"fetch: warning: {len(lost):,} of {len(trees):,} trees have no root (a message whose parent_id is null) "
            f"and so no thread: {first(list(map(repr, lost)), 3)}"
        )


def _check_parents(table: pa.Table, where: str) -> None:
    """Raise UserError where no reply's parent is in the dataset; log the number of missing parents."""
    replies = table.filter(table["parent_id"].is_valid())
    lost = replies.filter(pc.invert(pc.is_in(replies["parent_id"], table["message_id"])))
    if not len(lost):
        return
    message, parent = (first([repr(lost[name][0].as_py())]) for name in ("message_id", "parent_id"))
    example = f"{message} has {parent}"
    if len(lost) == len(replies):
        raise UserError(
            f"{where}: no parent_id of its {len(lost):,} replies is the message_id of a message ({example}); "
            "they must be written alike"
        )
    log(
        f"fetch: warning: the parent_id of {len(lost):,} of {len(replies):,} replies is not a message_id of the "
        f"dataset, and so these are in no thread: {example}{', ...' if len(lost) > 1 else ''}"
    )
