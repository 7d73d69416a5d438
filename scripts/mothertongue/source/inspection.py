"""What is found in a file of conversations: for people who do not know yet how to configure it."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import yaml

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import one_line
from mothertongue.source import detection
from mothertongue.source.conversations import Tree, Unreadable
from mothertongue.source.files import Row, open_file
from mothertongue.source.reading import Dataset, first_rows, format_of, tree_of_row

# Rows that are read, and those of them that are shown, with so many characters of a message.
_READ, _SHOWN, _CHARACTERS = 1_000, 3, 300


def describe(path: Path, dataset: Dataset) -> str:
    """Return a file's kind, format and columns, its first rows as conversations, and the configuration to paste.

    Raise UserError where it cannot be read, or no format fits.
    """
    first = first_rows(open_file(path, replace(dataset.limits)))
    if not first:
        raise UserError(f"{path}: no rows in it")
    name = format_of(first, path, dataset)
    file = open_file(path, replace(dataset.limits))
    lines = [f"{path}: {file.unit}s of {', '.join(map(repr, detection.keys_of(first)))}", f"format: {name}"]
    if name in detection.BY_MESSAGE:
        parts = detection.BY_MESSAGE[name].read(file, replace(dataset.limits))
        messages = list(islice((message for part in parts for message in part.to_pylist()), _SHOWN))
        lines += ["", "the first messages:", *map(_line, messages), "", *_configuration(path, name, dataset)]
        return "\n".join(map(one_line, lines))
    names = detection.names_of(name, first, dataset.columns, str(path))
    lines += [f"  {what}: column {column!r}" for what, column in detection.located(first, names).items()]
    wrong = shown = read = 0
    for number, row in islice(file.rows, _READ):
        read += 1
        try:
            tree = tree_of_row(row, name, names, dataset)
        except Unreadable as error:
            wrong += 1
            if wrong <= _SHOWN:
                lines += ["", f"{file.unit} {number}: not of the format: {error}"]
            continue
        dataset.languages.identify(tree.messages)
        dataset.account.add(tree)
        if shown < _SHOWN:
            shown += 1
            lines += ["", f"{file.unit} {number}:", *_shown(tree)]
    lines += ["", f"of the first {read:,} rows:" if read == _READ else "of all rows:"]
    lines += [f"  {line}" for line in dataset.summary()]
    lines += [f"  {wrong:,} rows are not of the format"] if wrong else []
    return "\n".join(map(one_line, [*lines, "", *_configuration(path, name, dataset)]))


def _shown(tree: Tree) -> list[str]:
    """Return the messages of a tree as lines, replies to the same message with their ranks."""
    if not tree.messages:
        return [f"  left out: {tree.reason}"]
    lines = [f"  id {tree.messages[0]['message_tree_id']}"]
    lines += map(_line, tree.messages)
    lines += [f"  left out: {count} ({reason})" for reason, count in tree.left_out.items()]
    return lines


def _line(row: Row) -> str:
    """Return a message as a line."""
    rank = "" if row["rank"] is None else f", rank {row['rank']}"
    text = " ".join(row["text"].split())
    text = text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}..."
    return f"  {row['role']} ({row['lang']}{rank}): {text}"


def _configuration(path: Path, name: str, dataset: Dataset) -> list[str]:
    """Return what to paste into a configuration, with the settings that are not their defaults."""
    columns = dict(dataset.columns)
    source = {"dataset": str(path), "licence": "", "format": name} | ({"columns": columns} if columns else {})
    source |= {"language": dataset.languages.given} if dataset.languages.given else {}
    source |= {"unreadable": "leave_out"} if dataset.settings.unreadable != "stop" else {}
    text = yaml.safe_dump({"source": source}, allow_unicode=True, sort_keys=False)
    return ["configuration (licence: the dataset's, such as cc-by-4.0):", *text.splitlines()]
