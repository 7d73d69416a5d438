"""Read the files of a dataset in any of the formats: messages of OASST, with an account of what was left out."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.common.progress import first, log
from mothertongue.formats.messages import MESSAGES, OASST
from mothertongue.formats.parquet import Limits
from mothertongue.source import detection
from mothertongue.source.conversations import Account, Tree, Unreadable, checked_text, shown, tree_of
from mothertongue.source.files import LINE, File, Row, open_file, with_lines
from mothertongue.source.languages import Languages
from mothertongue.source.seen_conversations import SeenConversations
from mothertongue.source.settings import FormatSettings, LimitSettings

# Rows by which a file's format and columns are found, and characters of them in all.
_FIRST, _FIRST_CHARACTERS = 100, 1_000_000
# Messages that are held as Python objects at a time.
_AT_ONCE = 10_000
UNREADABLE, AGAIN = "not of the format", "the same as an earlier row"
_DEFAULT = LimitSettings()
# Messages as they are read: with their split, the number of their file and its row.
SPLIT, FILE = MESSAGES.field("split"), pa.field("file", pa.int32(), nullable=False)
STAGED = pa.schema([*OASST, LINE, SPLIT, FILE])


def new_limits(settings: LimitSettings = _DEFAULT) -> Limits:
    """Return the limits of a dataset's total size and of the length of a line."""
    advice = "source.limits.{key} allows more, where there is room for it"
    return Limits(settings.max_rows, settings.max_megabytes * 10**6, advice, settings.max_line_megabytes * 10**6)


@dataclass
class Dataset:
    """How a dataset is read, and what has been read of it.

    `name` is its own among several, with which the ids of conversations begin. `columns` are those of the
    configuration, `languages` sets the messages' languages. `account` counts the rows of conversations. `files` are
    those that were opened, with what the number of a row counts in each, and `formats` has their formats; `seen` has
    the ids of conversations.
    """

    name: str = ""
    settings: FormatSettings = field(default_factory=FormatSettings)
    columns: Mapping[str, str] = field(default_factory=dict)
    languages: Languages = field(default_factory=Languages)
    limits: Limits = field(default_factory=new_limits)
    account: Account = field(default_factory=Account)
    formats: dict[str, str] = field(default_factory=dict)
    files: list[tuple[Path, str]] = field(default_factory=list)
    seen: SeenConversations = field(default_factory=SeenConversations)

    def summary(self) -> list[str]:
        """Return what became of rows and turns as lines for a log; none where there are no conversations."""
        account = self.account
        lines = []
        if account.rows:
            rows, turns = _others(account.rows_left_out), _others(account.turns_left_out)
            lines.append(f"{account.rows:,} rows = {account.conversations:,} conversations{rows}")
            lines.append(f"{account.turns:,} turns = {account.messages:,} messages{turns}")
        if found := self.languages.as_json():
            counts = [f"{lang} {one['conversations']:,} ({one['probability']:.2f})" for lang, one in found.items()]
            lines.append(f"languages identified, conversations (mean probability): {first(counts)}")
        if short := self.languages.short:
            lines.append(f"{short:,} conversations are too short to identify: in the language of the others, if in one")
        if unknown := self.languages.unknown:
            names = [f"{name!r} {count:,}" for name, count in unknown.most_common()]
            lines.append(f"warning: values of the language column that are no language, identified: {first(names)}")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return the account of what was read, by name."""
        account = self.account.as_json() if self.account.rows else {}
        found = self.languages.as_json()
        return {"formats": self.formats} | account | ({"identified_languages": found} if found else {})


def read_splits(files: Mapping[str, Sequence[Path]], dataset: Dataset) -> Iterator[pa.Table]:
    """Yield the messages of the files of each split in parts, with the columns of STAGED."""
    for split, paths in files.items():
        for path in paths:
            file = len(dataset.files)
            for part in read_file(path, dataset):
                part = part.append_column(SPLIT, pa.array([split] * len(part), SPLIT.type))
                yield part.append_column(FILE, pa.array([file] * len(part), FILE.type))


def read_file(path: Path, dataset: Dataset) -> Iterator[pa.Table]:
    """Yield the messages of a file in parts, with the row of each, and add it to the account of its dataset.

    Raise UserError naming file and row where it cannot be read, and where it has no messages.
    """
    file = open_file(path, replace(dataset.limits))
    dataset.files.append((path, file.unit))
    rows = first_rows(file)
    if not rows:
        raise UserError(f"{path}: no messages in it")
    name = format_of(rows, path, dataset)
    dataset.formats[str(path)] = name
    if name in detection.BY_MESSAGE:
        if dataset.columns:
            raise UserError(f"source.columns: the format {name} has columns of its own; remove them")
        log(f"fetch: {path}: format {name}")
        yield from detection.BY_MESSAGE[name].read(open_file(path, dataset.limits), dataset.limits)
        return
    names = detection.names_of(name, rows, dataset.columns, str(path))
    located = detection.located(rows, names)
    log(f"fetch: {path}: format {name}, {', '.join(f'{what} from {column!r}' for what, column in located.items())}")
    file = open_file(path, dataset.limits, [column for known in names.values() for column in known])
    conversations = dataset.account.conversations
    yield from _tables(file, name, names, dataset)
    if dataset.account.conversations == conversations:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dataset.account.rows_left_out.most_common())
        raise UserError(f"{path}: no conversation in it{f' (left out: {reasons})' if reasons else ''}")


def _others(left_out: Counter[str]) -> str:
    """Return what else became of rows or turns, as the rest of a sum."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())
    return f" + {left_out.total():,} others: {reasons}" if left_out else ""


def format_of(rows: Sequence[Row], path: Path, dataset: Dataset) -> str:
    """Return the configured format, or the one that a file's first rows fit. Raise UserError where there is none."""
    chosen = dataset.settings.format
    return detection.detect(rows, dataset.columns, str(path)) if chosen == "auto" else chosen


def first_rows(file: File) -> list[Row]:
    """Return the first rows of a file, by which its format is found: some megabytes at most."""
    rows: list[Row] = []
    size = 0
    for _, row in file.rows:
        rows.append(row)
        size += len(json.dumps(row, default=str))
        if len(rows) == _FIRST or size > _FIRST_CHARACTERS:
            break
    return rows


def tree_of_row(row: Row, name: str, names: detection.Names, dataset: Dataset) -> Tree:
    """Return the messages of a row in a format of conversations, with the language of its column.

    Raise Unreadable where the row is not of the format.
    """
    values = detection.values(row, names)
    found = detection.BY_CONVERSATION[name].conversation(values)
    return tree_of(replace(found, id=_id(values.get("id")), lang=dataset.languages.tag(values.get("language"))))


def _id(value: Any) -> str:
    """Return a row's id as text; empty for null. Raise Unreadable where it is neither text nor a whole number."""
    if isinstance(value, float) and value % 1 == 0:  # pandas writes whole numbers so, where some are null
        value = int(value)
    if not isinstance(value, str | int | None) or isinstance(value, bool):
        raise Unreadable(f"its id is neither text nor a whole number: {shown(value)}")
    return "" if value is None else checked_text(str(value))


def _tables(file: File, name: str, names: detection.Names, dataset: Dataset) -> Iterator[pa.Table]:
    """Yield the messages of a file of conversations in parts, and add its rows to the account."""
    waiting: list[Row] = []
    lines: list[int] = []
    for number, row in file.rows:
        where = file.where(number)
        try:
            tree = tree_of_row(row, name, names, dataset)
        except Unreadable as error:
            if dataset.settings.unreadable == "stop":
                raise UserError(
                    f"{where}: not of the format {name}: {error}; source.unreadable: leave_out goes on without it"
                ) from None
            dataset.account.leave_out(UNREADABLE)
            continue
        if tree.messages and _is_again(tree.messages, number, where, dataset):
            dataset.account.leave_out(AGAIN, tree.turns)
            continue
        dataset.languages.identify(tree.messages)
        dataset.account.add(tree)
        dataset.limits.count(where, max(0, len(tree.messages) - 1), 0)
        waiting += tree.messages
        lines += [number] * len(tree.messages)
        if len(waiting) >= _AT_ONCE:
            yield with_lines(pa.Table.from_pylist(waiting, OASST), lines)
            waiting, lines = [], []
    yield with_lines(pa.Table.from_pylist(waiting, OASST), lines)


def _is_again(messages: Sequence[Row], line: int, where: str, dataset: Dataset) -> bool:
    """Return whether a conversation before is the same. Raise UserError where one had its id with another content."""
    found = dataset.seen.before(messages, (len(dataset.files) - 1, line))
    if found is None:
        return False
    (file, row), same = found
    if not same:
        path, unit = dataset.files[file]
        raise UserError(
            f"{where}: the id {messages[0]['message_tree_id']!r} was used before, in {path}: {unit} {row}, for another "
            "conversation; name another column by source.columns.id, or null for ids from the content"
        )
    return True
