"""Messages: the tables that flow between the steps, and the checks made where one is read.

The columns are those of OpenAssistant/oasst1 (https://huggingface.co/datasets/OpenAssistant/oasst1).
"""

import hashlib
import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mothertongue.errors import UserError

ROLES = ("prompter", "assistant")
SPLITS = ("train", "validation")
ROUTES = ("native", "direct", "pivot", "multilingual", "none")
STATUSES = ("native", "translated", "copied", "flagged", "failed")

_TOXICITY = ("toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit")
_STRINGS, _INTEGERS, _FLOATS = pa.list_(pa.string()), pa.list_(pa.int32()), pa.list_(pa.float64())

OASST = pa.schema(
    [
        pa.field("message_id", pa.string(), nullable=False),
        pa.field("parent_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("created_date", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("lang", pa.string(), nullable=False),
        pa.field("review_count", pa.int32()),
        pa.field("review_result", pa.bool_()),
        pa.field("deleted", pa.bool_()),
        pa.field("rank", pa.int32()),
        pa.field("synthetic", pa.bool_()),
        pa.field("model_name", pa.string()),
        pa.field("detoxify", pa.struct([(name, pa.float64()) for name in _TOXICITY])),
        pa.field("message_tree_id", pa.string(), nullable=False),
        pa.field("tree_state", pa.string()),
        pa.field("emojis", pa.struct([("name", _STRINGS), ("count", _INTEGERS)])),
        pa.field("labels", pa.struct([("name", _STRINGS), ("value", _FLOATS), ("count", _INTEGERS)])),
    ]
)
MESSAGES = OASST.append(pa.field("split", pa.string(), nullable=False)).append(
    pa.field("source_lang", pa.string(), nullable=False)
)
TRANSLATED = pa.schema(
    [pa.field("text", pa.string()) if field.name == "text" else field for field in MESSAGES]
    + [
        pa.field("source_text", pa.string(), nullable=False),
        pa.field("route", pa.string(), nullable=False),
        pa.field("model", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reasons", _STRINGS, nullable=False),
        pa.field("score", pa.float32()),
    ]
)
# A language, and whatever specifies it: script, region, variants.
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


def read(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a step's Parquet file and check its columns, types and closed vocabularies.

    Raises UserError naming file, row and column.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
    table = conform(table, schema, str(path))
    vocabularies = {"role": ROLES, "split": SPLITS, "route": ROUTES, "status": STATUSES}
    for name, allowed in vocabularies.items():
        if name in schema.names:
            check_vocabulary(table[name].to_pylist(), allowed, name, str(path))
    return table


def write(table: pa.Table, path: Path) -> None:
    """Write a Parquet file; the same table gives the same bytes."""
    pq.write_table(table, path, compression="zstd")


def conform(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """The table with the schema's columns in its order and types. Raises UserError naming row and column."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            raise UserError(f"{where}: column '{field.name}' is missing")
        column = table[field.name]
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise UserError(
                f"{where}: column '{field.name}': expected {field.type}, found {column.type} ({error})"
            ) from None
        if not field.nullable and column.null_count:
            row = column.is_null().to_pylist().index(True) + 1
            raise UserError(f"{where}: row {row}: column '{field.name}' is empty")
        columns.append(column)
    return pa.table(columns, schema=schema)


def check_vocabulary(
    values: Iterable[str],
    allowed: tuple[str, ...],
    column: str,
    where: str,
    lines: Iterable[int] | None = None,
    unit: str = "row",
) -> None:
    """Raise UserError at the first value that is not one of `allowed`; `lines` numbers the values (default: from 1)."""
    for line, value in zip(lines or count(1), values, strict=False):
        if value not in allowed:
            raise UserError(f"{where}: {unit} {line}: unknown {column} '{value}' (expected {' or '.join(allowed)})")


def check_language_tags(tags: Iterable[str], lines: Iterable[int], where: str, unit: str) -> None:
    """Raise UserError at the first text without the form of a language tag, such as pt-BR; `lines` numbers them."""
    for line, tag in zip(lines, tags, strict=True):
        if not _LANGUAGE_TAG.fullmatch(tag):
            raise UserError(f"{where}: {unit} {line}: lang {tag[:60]!r} is no language tag, as en and pt-BR are")


def base_language(tag: str) -> str:
    """The language of an OASST tag without its region: pt-BR -> pt."""
    return tag.split("-")[0].lower()


def hash_of(key: str, purpose: str) -> int:
    """A stable 64-bit hash of `key`; independent for each purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{key}".encode()).digest()[:8], "big")


def divide(messages: pa.Table, language: str, shards: int) -> list[pa.Table]:
    """The messages of one source language as `shards` tables (some may be empty), their order kept."""
    table = messages.filter(pc.equal(messages["source_lang"], language))
    numbers = [shard_of(tree, shards) for tree in table["message_tree_id"].to_pylist()]
    column = pa.array(numbers, pa.int32())
    return [table.filter(pc.equal(column, shard)).combine_chunks() for shard in range(shards)]


def shard_of(tree: str, shards: int) -> int:
    """The shard of a tree's messages: a tree is never divided between the shards of one source language."""
    return hash_of(tree, "shard") % shards


def is_validation(tree: str, share: float) -> bool:
    """Whether a tree belongs to the validation split, which takes `share` (0 to 1) of the trees."""
    return hash_of(tree, "validation") < share * 2**64
