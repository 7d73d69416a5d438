"""The source dataset: reading OASST files and refusing what would corrupt everything after them."""

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mothertongue import hub
from mothertongue.errors import UserError
from mothertongue.files import sha256
from mothertongue.messages import (
    MESSAGES,
    OASST,
    ROLES,
    SPLITS,
    base_language,
    check_language_tags,
    check_vocabulary,
    conform,
    is_validation,
)
from mothertongue.source_files import SUFFIXES

_ADVICE = "; without a network, fetch it elsewhere and name its files"
_MISFITS = (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError, UnicodeEncodeError)


def download(dataset: str, revision: str | None, folder: Path) -> tuple[dict[str, pa.Table], dict[str, str]]:
    """The splits of a dataset on the hub, and its files (with their commit) by checksum.

    `folder` is where the files go. Raises UserError where it cannot be had or is not in the OASST schema.
    """
    from datasets import load_dataset_builder
    from huggingface_hub import HfApi

    with hub.errors(f"fetch the dataset '{dataset}' from the hub", "dataset", _ADVICE):
        api = HfApi()
        info = hub.patiently(lambda: api.dataset_info(dataset, revision=revision, files_metadata=True))
        cache = str(folder / ".cache" / "datasets")
        try:
            builder = hub.patiently(lambda: load_dataset_builder(dataset, revision=info.sha, cache_dir=cache))
        except ValueError as error:  # of no known form
            raise UserError(f"{dataset}: its files are not understood ({str(error).splitlines()[0]})") from None
        files = {
            # hf://datasets/owner/name@commit/path
            str(split): [url.partition("@")[2].partition("/")[2] for url in urls]
            for split, urls in builder.config.data_files.items()
        }
        if "train" not in files:
            raise UserError(f"{dataset}: no train split (it has {', '.join(files)})")
        names = [name for split in SPLITS for name in files.get(split, [])]
        hub.download(dataset, info, folder, "dataset", names)
    try:
        tables = {split: _read_files([folder / name for name in files[split]]) for split in SPLITS if split in files}
    except UserError as error:
        raise UserError(str(error).replace(f"{folder}/", f"{dataset}: ")) from None
    return tables, {f"hf://datasets/{dataset}@{info.sha}/{name}": f"sha256:{sha256(folder / name)}" for name in names}


def read_file(path: Path) -> pa.Table:
    """Read an OASST file (.jsonl, .jsonl.gz or .parquet) with the columns of OASST, unknown ones left out.

    Raises UserError naming file, line (Parquet: row) and column.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: unknown kind of file (expected {', '.join(SUFFIXES)})")
    if path.suffix == ".parquet":
        try:
            table = conform(pq.read_table(path), OASST, str(path))
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: not a readable Parquet file ({error})") from None
        lines = range(1, len(table) + 1)
    else:
        table, lines = _read_jsonl(path)
    if not len(table):
        raise UserError(f"{path}: no messages in it")
    check(table, lines, str(path), "row" if path.suffix == ".parquet" else "line")
    return table


def combine_splits(tables: dict[str, pa.Table], validation: float) -> pa.Table:
    """One table with `split` and `source_lang`, from one table a split.

    Where there is no validation split, `validation` (0 to 1) of the trees, chosen by hash, becomes it.
    Raises UserError where a message or a tree stands in two splits.
    """
    parts = []
    for split, table in tables.items():
        trees = table["message_tree_id"].to_pylist()
        if "validation" in tables:
            splits = [split] * len(trees)
        else:
            splits = ["validation" if is_validation(tree, validation) else "train" for tree in trees]
        languages = [base_language(tag) for tag in table["lang"].to_pylist()]
        table = table.append_column("split", pa.array(splits, pa.string()))
        parts.append(table.append_column("source_lang", pa.array(languages, pa.string())).cast(MESSAGES))
    table = pa.concat_tables(parts).combine_chunks()
    split_of: dict[str, str] = {}
    for tree, split in zip(table["message_tree_id"].to_pylist(), table["split"].to_pylist(), strict=True):
        if split_of.setdefault(tree, split) != split:
            raise UserError(f"source.dataset: tree {tree} stands in the train and in the validation split")
    check_unique(table["message_id"].to_pylist(), range(1, len(table) + 1), "source.dataset", "row")
    return table


def check(table: pa.Table, lines: Sequence[int], where: str, unit: str) -> None:
    """Raise UserError for an unknown role, a bad lang, a message_id given twice, and parents that cannot be a tree."""
    check_vocabulary(table["role"].to_pylist(), ROLES, "role", where, lines, unit)
    check_language_tags(table["lang"].to_pylist(), lines, where, unit)
    ids, parents = table["message_id"].to_pylist(), table["parent_id"].to_pylist()
    check_unique(ids, lines, where, unit)
    line_of = dict(zip(ids, lines, strict=True))
    parent_of = dict(zip(ids, parents, strict=True))
    tree_of = dict(zip(ids, table["message_tree_id"].to_pylist(), strict=True))
    sound: set[str] = set()
    for message in ids:
        path: dict[str, None] = {}
        node: str | None = message
        while node in parent_of and node not in sound:
            if node in path:
                raise UserError(
                    f"{where}: {unit} {line_of[node]}: message {node} is its own ancestor (parent_id cycle)"
                )
            path[node] = None
            parent = parent_of[node]
            if parent in tree_of and tree_of[parent] != tree_of[node]:
                raise UserError(
                    f"{where}: {unit} {line_of[node]}: message_tree_id of {node} is not that of its parent {parent}"
                )
            node = parent
        sound.update(path)


def check_unique(ids: list[str], lines: Iterable[int], where: str, unit: str) -> None:
    """Raise UserError at the second use of a message_id."""
    first: dict[str, int] = {}
    for line, message in zip(lines, ids, strict=True):
        if message in first:
            raise UserError(f"{where}: {unit} {line}: message_id {message} was used before, in {unit} {first[message]}")
        first[message] = line


def _read_files(paths: list[Path]) -> pa.Table:
    return pa.concat_tables(read_file(path) for path in paths)


def _read_jsonl(path: Path) -> tuple[pa.Table, list[int]]:
    """The rows of a JSON Lines file, and the line that each stands on."""
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_parse(line, f"{path}: line {number}"))
                    lines.append(number)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read after line {number} ({error})") from None
    present = set().union(*rows) if rows else set(OASST.names)
    for name in OASST.names:
        if name not in present:
            raise UserError(f"{path}: column '{name}' is missing")
    return pa.table([_column(field, rows, lines, path) for field in OASST], schema=OASST), lines


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON that can be read ({error})") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a JSON object")
    return row


def _column(field: pa.Field, rows: list[dict[str, Any]], lines: list[int], path: Path) -> pa.Array:
    """One column of the rows; a wrong or missing value raises UserError naming its line."""
    values = [row.get(field.name) for row in rows]
    if field.nullable or None not in values:
        try:
            return _array(values, field.type)
        except _MISFITS:
            pass
    for line, value in zip(lines, values, strict=True):
        if value is None and not field.nullable:
            raise UserError(f"{path}: line {line}: column '{field.name}' is missing or null")
        try:
            _array([value], field.type)
        except _MISFITS:
            raise UserError(
                f"{path}: line {line}: column '{field.name}': expected {_plain(field.type)}, "
                f"found {json.dumps(value)[:60]}"
            ) from None
    raise AssertionError(f"{path}: column {field.name} fails as a whole but not in any line")


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow array of Python values, without Arrow's silent rounding of 1.5 to 1."""
    if pa.types.is_integer(kind) and any(isinstance(value, float) and value % 1 for value in values):
        raise TypeError("a fraction where a whole number is expected")
    return pa.array(values, type=kind)


def _plain(kind: pa.DataType) -> str:
    names = {"string": "text", "int32": "a whole number", "bool": "true or false"}
    return names.get(str(kind), f"an object with {', '.join(kind.names)}" if pa.types.is_struct(kind) else str(kind))
