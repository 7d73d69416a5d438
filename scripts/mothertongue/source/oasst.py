"""Read the source dataset from OASST files, and reject data that would corrupt later steps."""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mothertongue.common.atomic_files import sha256
from mothertongue.common.errors import UserError
from mothertongue.common.languages import language_of
from mothertongue.common.progress import first, log
from mothertongue.formats.messages import (
    MESSAGES,
    OASST,
    ROLES,
    SPLITS,
    Limits,
    check_language_tags,
    check_vocabulary,
    is_validation,
    read_parquet,
)
from mothertongue.models import hub
from mothertongue.source.dataset_reference import SUFFIXES
from mothertongue.source.settings import LimitSettings

Rows = list[dict[str, Any]]

_ADVICE = "; without a network, fetch it elsewhere and name its files"
_MISFITS = (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError)
# Values that programs write for a missing parent.
_NO_PARENT = frozenset({"", "none", "nan", "null", "<na>"})
# Bytes of JSON Lines that are parsed to Python objects at a time.
_AT_ONCE = 16_000_000
_DEFAULT = LimitSettings()
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def new_limits(settings: LimitSettings = _DEFAULT) -> Limits:
    """Return the limits of a dataset's total size and of the length of a JSON line."""
    advice = "source.limits.{key} allows more, where the machine has the memory"
    return Limits(settings.max_rows, settings.max_megabytes * 10**6, advice, settings.max_line_megabytes * 10**6)


def download(
    dataset: str, revision: str | None, folder: Path, limits: Limits
) -> tuple[dict[str, pa.Table], dict[str, str]]:
    """Download a dataset from the hub into `folder`; return its splits, and checksums by file URL (with the commit).

    Raise UserError where it cannot be downloaded or is not in the OASST schema, and where it includes loading scripts
    or files from elsewhere.
    """
    from datasets import load_dataset_builder
    from huggingface_hub import HfApi

    with hub.errors(f"fetch the dataset '{dataset}' from the hub", "dataset", _ADVICE):
        api = HfApi()
        info = hub.with_retries(lambda: api.dataset_info(dataset, revision=revision, files_metadata=True))
        _check_repository(dataset, info)
        cache = str(folder / ".cache" / "datasets")
        try:
            builder = hub.with_retries(lambda: load_dataset_builder(dataset, revision=info.sha, cache_dir=cache))
        except (ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:  # unknown formats
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"{dataset}: its files are not understood ({reason})") from None
        here = f"hf://datasets/{dataset}@{info.sha}/"
        files: dict[str, list[str]] = {}
        for split, urls in (builder.config.data_files or {}).items():
            if elsewhere := [url for url in urls if not url.startswith(here)]:
                raise _elsewhere(dataset, elsewhere[0])
            files[str(split)] = [url.removeprefix(here) for url in urls]
        if "train" not in files:
            raise UserError(f"{dataset}: no train split (it has {first(list(files))})")
        names = [name for split in SPLITS for name in files.get(split, [])]
        hub.download(dataset, info, folder, "dataset", names)
    try:
        tables = {
            split: pa.concat_tables(read_file(folder / name, limits) for name in files[split])
            for split in SPLITS
            if split in files
        }
    except UserError as error:
        raise UserError(str(error).replace(f"{folder}/", f"{dataset}: ")) from None
    return tables, {f"hf://datasets/{dataset}@{info.sha}/{name}": f"sha256:{sha256(folder / name)}" for name in names}


def read_file(path: Path, limits: Limits | None = None) -> pa.Table:
    """Read the OASST columns of a file (.jsonl, .jsonl.gz or .parquet); drop other columns and log their names.

    Labels and emojis may also have the official export's format, objects keyed by name. Parents in _NO_PARENT, such as
    "", "None" and "nan", are read as null. Raise UserError naming file, line (Parquet: row) and column; where the file
    or a line exceeds the limits (default: those of `new_limits`), raise it before allocating the memory.
    """
    limits = limits or new_limits()
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: unknown kind of file (expected {', '.join(SUFFIXES)})")
    lines: Sequence[int]
    if path.suffix == ".parquet":
        table = read_parquet(path, OASST, limits, _with_lists)
        lines, names = range(1, len(table) + 1), pq.read_schema(path).names
    else:
        table, lines, names = _read_jsonl(path, limits)
    if not len(table):
        raise UserError(f"{path}: no messages in it")
    if unknown := [name for name in names if name not in OASST.names]:
        log(f"fetch: {path}: left out, no columns of OASST: {first(list(map(repr, unknown)))}")
    table = _with_roots(table, str(path))
    check(table, lines, str(path), "row" if path.suffix == ".parquet" else "line")
    return table


def combine_splits(tables: dict[str, pa.Table], validation: float) -> pa.Table:
    """Combine one table per split into one table with the columns `split` and `source_lang`.

    Where there is no validation split, take the share `validation` (0 to 1) of the trees, chosen by hash. Raise
    UserError where a message or a tree is in two splits, where no tree has a root, and where there are replies but the
    parents of all are missing.
    """
    parts = []
    for split, table in tables.items():
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
            raise UserError(f"source.dataset: tree {tree} stands in the train and in the validation split")
    check_unique(table["message_id"].to_pylist(), range(1, len(table) + 1), "source.dataset", "row")
    _check_roots(table, list(split_of))
    _check_parents(table)
    return table


def check(table: pa.Table, lines: Sequence[int], where: str, unit: str) -> None:
    """Raise UserError for an unknown role, a malformed lang, a duplicate message_id, or parents that form no tree."""
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
        while node is not None and node in parent_of and node not in sound:
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


def _check_repository(dataset: str, info: Any) -> None:
    """Raise UserError where a dataset has a loading script, or its card names files outside its repository."""
    scripts = [file.rfilename for file in info.siblings or [] if file.rfilename == f"{dataset.partition('/')[2]}.py"]
    if scripts:
        raise UserError(
            f"{dataset}: it is loaded by a program of its own ({scripts[0]}), which is never run; name its files, or a "
            "dataset that has .jsonl, .jsonl.gz or .parquet files"
        )
    configurations = (info.card_data or {}).get("configs")
    for configuration in configurations if isinstance(configurations, list) else ():
        for name in _texts(configuration):
            if "://" in name or ".." in Path(name).parts or name.startswith("/"):
                raise _elsewhere(dataset, name)


def _elsewhere(dataset: str, name: str) -> UserError:
    return UserError(f"{dataset}: its card names a file that is not its own ({name!r}); fetch that, and name the file")


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in a parsed YAML header."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _with_roots(table: pa.Table, where: str) -> pa.Table:
    """Return the table with parents such as "", "None" or "nan" replaced by null, the value of roots; log how many."""
    parents = table["parent_id"]
    kinds = pc.unique(parents).to_pylist()
    names = [name for name in kinds if name is not None and name.strip().lower() in _NO_PARENT]
    none = pc.is_in(parents, pa.array(names, pa.string()))
    # A message_id may be one of these values.
    if not names or pc.any(pc.is_in(table["message_id"], pa.array(names, pa.string()))).as_py():
        return table
    written = first(list(map(repr, sorted(names))))
    log(f"fetch: {where}: parent_id of {pc.sum(none).as_py():,} messages is read as null, was {written}")
    parents = pc.if_else(none, pa.scalar(None, pa.string()), parents)
    return table.set_column(table.column_names.index("parent_id"), OASST.field("parent_id"), parents)


def _check_roots(table: pa.Table, trees: list[str]) -> None:
    """Raise UserError where no tree has a root; log the number of trees without one."""
    roots = set(table["message_tree_id"].filter(table["parent_id"].is_null()).to_pylist())
    if not roots:
        raise UserError(
            f"source.dataset: none of {len(trees):,} trees has a root: the first message of a tree has parent_id null"
        )
    if lost := [tree for tree in trees if tree not in roots]:
        log(
            f"fetch: warning: {len(lost):,} of {len(trees):,} trees have no root (a message whose parent_id is null) "
            f"and so no thread: {first(list(map(repr, lost)), 3)}"
        )


def _check_parents(table: pa.Table) -> None:
    """Raise UserError where no reply's parent is in the dataset; log the number of missing parents."""
    replies = table.filter(table["parent_id"].is_valid())
    lost = replies.filter(pc.invert(pc.is_in(replies["parent_id"], table["message_id"])))
    if not len(lost):
        return
    message, parent = (first([repr(lost[name][0].as_py())]) for name in ("message_id", "parent_id"))
    example = f"{message} has {parent}"
    if len(lost) == len(replies):
        raise UserError(
            f"source.dataset: no parent_id of its {len(lost):,} replies is the message_id of a message ({example}); "
            "they must be written alike"
        )
    log(
        f"fetch: warning: the parent_id of {len(lost):,} of {len(replies):,} replies is not a message_id of the "
        f"dataset, and so these are in no thread: {example}{', ...' if len(lost) > 1 else ''}"
    )


def _read_jsonl(path: Path, limits: Limits) -> tuple[pa.Table, list[int], list[str]]:
    """Return the rows of a JSON Lines file, their line numbers, and their keys."""
    parts: list[pa.Table] = [OASST.empty_table()]
    lines: list[int] = []
    keys: dict[str, None] = {}
    rows: Rows = []
    number = waiting = 0

    def convert() -> None:
        numbers = lines[len(lines) - len(rows) :]
        parts.append(pa.table([_column(field, rows, numbers, path) for field in OASST], schema=OASST))
        rows.clear()

    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(limits.line + 1):
                number += 1
                where = f"{path}: line {number}"
                if len(line) > limits.line:
                    advice = limits.advice.format(key="line_megabytes")
                    raise UserError(f"{where}: longer than {limits.line / 1e6:,.0f} MB; {advice}")
                limits.count(where, bool(line.strip()), len(line))
                if number == 1 and (line.startswith(_UTF16) or b"\0" in line):
                    raise UserError(f"{path}: not UTF-8, but perhaps UTF-16; save it as UTF-8")
                if not line.strip():
                    if number - len(lines) > limits.rows:
                        advice = limits.advice.format(key="rows")
                        raise UserError(f"{where}: more than {limits.rows:,} empty lines; {advice}")
                    continue
                row = _parse(line, where)
                keys |= dict.fromkeys(row)
                rows.append(row)
                lines.append(number)
                waiting += len(line)
                if waiting > _AT_ONCE:
                    convert()
                    waiting = 0
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read after line {number} ({error})") from None
    if lines and "prompt" in keys and "text" not in keys:
        raise UserError(f"{path}: line {lines[0]}: a whole tree; name the export that has a message in each line")
    for name in OASST.names if lines else ():
        if name not in keys:
            raise UserError(f"{path}: column '{name}' is missing")
    convert()
    return pa.concat_tables(parts), lines, list(keys)


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


def _column(field: pa.Field, rows: Rows, lines: Sequence[int], where: object, unit: str = "line") -> pa.Array:
    """Return one column of the rows. Raise UserError naming the line of a wrong or missing value."""
    values = [_value(field, row.get(field.name)) for row in rows]
    if field.nullable or None not in values:
        try:
            return _array(values, field.type)
        except _MISFITS:
            pass
    for line, value in zip(lines, (row.get(field.name) for row in rows), strict=True):
        if value is None and not field.nullable:
            raise UserError(f"{where}: {unit} {line}: column '{field.name}' is missing or null")
        try:
            _array([_value(field, value)], field.type)
        except UnicodeEncodeError as error:
            half = error.object[error.start : error.start + 1]
            raise UserError(
                f"{where}: {unit} {line}: column '{field.name}': half of a surrogate pair ({ascii(half)[1:-1]}), which "
                "is not a character"
            ) from None
        except _MISFITS:
            raise UserError(
                f"{where}: {unit} {line}: column '{field.name}': expected {_plain(field.type)}, "
                f"found {json.dumps(value)[:60]}"
            ) from None
    raise AssertionError(f"{where}: column {field.name} fails as a whole but not in any line")


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Convert Python values to an Arrow array without Arrow's coercions of 1.5 to 1 and true to 1.0.

    Raise one of _MISFITS where a value does not have the type.
    """
    if not _are_numbers(values, kind):
        raise TypeError("a fraction where a whole number is expected, or a truth value where a number is")
    if pa.types.is_struct(kind) and not all(value is None or _is_known(value, kind) for value in values):
        raise TypeError("keys that the column has not, which Arrow would leave out")
    return pa.array(values, type=kind)


def _with_lists(table: pa.Table, where: str, before: int) -> pa.Table:
    """Return a part of a Parquet file with labels and emojis as structs of lists, converted from fields by name."""
    for field in OASST:
        if not pa.types.is_struct(field.type) or table.column_names.count(field.name) != 1:
            continue
        found = table[field.name].type
        if not pa.types.is_struct(found) or set(found.names) <= set(field.type.names):
            continue
        # A field missing in a row is null.
        rows = [value and {k: v for k, v in value.items() if v is not None} for value in table[field.name].to_pylist()]
        numbers = range(before + 1, before + 1 + len(rows))
        column = _column(field, [{field.name: row} for row in rows], numbers, where, "row")
        table = table.set_column(table.column_names.index(field.name), field, column)
    return table


def _value(field: pa.Field, value: Any) -> Any:
    """Convert a value to its column's format: labels and emojis keyed by name to lists, pandas's NaN to null."""
    if isinstance(value, float) and math.isnan(value) and field.nullable:
        return None
    if not isinstance(value, dict) or not pa.types.is_struct(field.type) or field.type.names[0] != "name":
        return value
    _, *parts = field.type.names
    if not value or value.keys() <= set(field.type.names):
        return value
    # {"spam": {"value": 0.0, "count": 3}}, and {"+1": 2}
    details = [given if isinstance(given, dict) else {parts[0]: given} for given in value.values()]
    if any(detail.keys() != set(parts) for detail in details):
        return value
    return {"name": list(value)} | {part: [detail[part] for detail in details] for part in parts}


def _are_numbers(values: list[Any], kind: pa.DataType) -> bool:
    """Return whether integer columns have no fractions and float columns no truth values."""
    if pa.types.is_integer(kind):
        return not any(isinstance(value, float) and value % 1 for value in values)
    return not pa.types.is_floating(kind) or not any(isinstance(value, bool) for value in values)


def _is_known(value: Any, kind: pa.DataType) -> bool:
    """Return whether a value has only the column's keys, lists of equal length, and numbers of the column's types."""
    if not isinstance(value, dict) or not value.keys() <= set(kind.names):
        return False
    sizes = set()
    for name, part in value.items():
        wanted = kind.field(name).type
        if isinstance(part, list):
            sizes.add(len(part))
        if not _are_numbers(part if isinstance(part, list) else [part], getattr(wanted, "value_type", wanted)):
            return False
    return len(sizes) <= 1


def _plain(kind: pa.DataType) -> str:
    names = {"string": "text", "int32": "a whole number", "bool": "true or false"}
    return names.get(str(kind), f"an object with {', '.join(kind.names)}" if pa.types.is_struct(kind) else str(kind))
