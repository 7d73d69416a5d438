"""Let a teacher answer what users wrote: every reply that waits for it, each after those above it in its tree."""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from mothertongue.common.progress import Progress
from mothertongue.endpoints.answers import Outcome
from mothertongue.endpoints.client import Client
from mothertongue.endpoints.protocol import Request
from mothertongue.formats.messages import AWAITING, TEACHER
from mothertongue.teaching.checks import REFUSED, Checked, Checks
from mothertongue.teaching.naming import identity, name_of
from mothertongue.teaching.prompts import ATTEMPTS, Prompts, Turn

# Why a reply is missing that was not asked for: a message before it has failed, or the window has no room for it.
NOT_ASKED, TOO_LONG = "not asked", "too long"
# The note of a reply to a conversation whose oldest turns the window had no room for.
SHORTENED = "earlier turns left out"
# Outcomes for which another attempt is of no use.
_FINAL = frozenset({REFUSED, "rejected", "no answer"})
CURED = "cured: "
# What people said, or a program, of the reply that an answer replaces.
_OF_THE_REPLY = ("user_id", "review_count", "detoxify", "emojis", "labels")
# The roles that a message may follow, None for none, and their names for chat models.
_AFTER = {"system": (None,), "prompter": (None, "system", "assistant"), "assistant": ("prompter",)}
_TURNS = {"prompter": "user", "assistant": "assistant"}
_COLUMNS = ("message_id", "parent_id", "message_tree_id", "role", "text", "status", "source_text", "source_lang")


@dataclass(frozen=True)
class Answered:
    """What became of a reply; `text` is None where it failed."""

    text: str | None
    status: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Teacher:
    """A model that answers: its identity, and what it is asked, and how its answers are checked."""

    model: str
    client: Client
    prompts: Prompts
    checks: Checks


@dataclass(frozen=True)
class _Row:
    """A message of the shard."""

    id: str
    parent: str | None
    tree: str
    role: str
    text: str | None
    status: str
    original: str
    original_lang: str


@dataclass(frozen=True)
class _Asked:
    """A reply that is asked for: its row, the attempt, what was wrong with those before, and the best of these."""

    row: int
    attempt: int = 0
    faults: tuple[str, ...] = ()
    best: Checked | None = None


def await_all(shard: pa.Table) -> pa.Table:
    """Return a translated shard in which all of the assistant's messages wait for the teacher."""
    waiting: dict[str, Any] = {
        "text": None,
        "route": TEACHER,
        "status": AWAITING,
        "reasons": [],
        "score": None,
        "meaning": None,
    }
    replies = [row for row, role in enumerate(shard["role"].to_pylist()) if role == "assistant"]
    return _changed(shard, dict.fromkeys(replies, waiting))


def answer(shard: pa.Table, teacher: Teacher) -> pa.Table:
    """Return a translated shard in which the replies that wait for the teacher have its answers, or have failed.

    All other messages are as they were. A reply is asked for as soon as those above it are there, and again where its
    answer has failed a check, while others are on their way: the server stays busy across trees.
    """
    rows = [_Row(*values) for values in zip(*(shard[name].to_pylist() for name in _COLUMNS), strict=True)]
    trees = _Trees(rows)
    ready = deque(_Asked(row) for row in trees.first())
    progress = Progress("answer", len(trees.waiting), "replies")
    # Equal conversations have one answer: a second run finds one, too. By their keys, and the keys by their indices.
    waiting: dict[str, list[tuple[_Asked, bool]]] = {}
    known: dict[str, Outcome] = {}
    keys: list[str] = []

    def take(one: _Asked, whole: bool, outcome: Outcome) -> None:
        found = _judge(one, outcome, trees, teacher.checks)
        if isinstance(found, _Asked):
            ready.append(found)
        else:
            ready.extend(_settled(trees, one.row, _noted(found, whole), progress))

    def requests() -> list[Request]:
        """Return the requests for what is ready, each conversation once."""
        new = []
        while ready:
            one = ready.popleft()
            if (made := _request(one, trees, teacher)) is None:
                ready.extend(_settled(trees, one.row, _unasked(one), progress))
                continue
            request, whole = made
            key = teacher.client.key(request)
            if key in known:
                take(one, whole, known[key])
            elif key in waiting:
                waiting[key].append((one, whole))
            else:
                waiting[key] = [(one, whole)]
                keys.append(key)
                new.append(request)
        return new

    with closing(teacher.client.stream(requests())) as outcomes:
        arrived = next(outcomes, None)
        while arrived is not None:
            index, outcome = arrived
            known[keys[index]] = outcome
            for one, whole in waiting.pop(keys[index]):
                take(one, whole, outcome)
            try:
                arrived = outcomes.send(requests())
            except StopIteration:
                arrived = None
    trees.give_up()
    progress.finish()
    return _table(shard, trees, identity(teacher.model), name_of(teacher.model))


def _request(one: _Asked, trees: "_Trees", teacher: Teacher) -> tuple[Request, bool] | None:
    question = trees.parent(one.row)
    earlier = trees.before(question)
    fault = one.faults[0] if one.faults else ""
    text = trees.rows[question].text or ""
    return teacher.prompts.request(text, earlier, trees.system(one.row), one.attempt, fault)


def _judge(one: _Asked, outcome: Outcome, trees: "_Trees", checks: Checks) -> Answered | _Asked:
    """Return what became of a reply, or what is asked for next."""
    row, question = trees.rows[one.row], trees.rows[trees.parent(one.row)].text or ""
    checked = checks.check(outcome, question, row.original, row.original_lang)
    wrong = (*checked.faults, *(doubt for doubt in checked.doubts if doubt != REFUSED))
    best = one.best if checked.faults else checked
    if wrong and not _FINAL.intersection(checked.faults) and one.attempt + 1 < ATTEMPTS:
        return replace(one, attempt=one.attempt + 1, faults=wrong, best=best)
    if best is None:
        return Answered(None, "failed", checked.faults)
    cured = [f"{CURED}{fault}" for fault in one.faults if best is checked and fault not in best.doubts]
    return Answered(best.text, "flagged" if best.doubts else "answered", (*best.doubts, *cured))


def _unasked(one: _Asked) -> Answered:
    """Return what became of a reply whose request the window has no room for: it tells what was wrong before, too."""
    if one.best is None:
        return Answered(None, "failed", one.faults or (TOO_LONG,))
    return Answered(one.best.text, "flagged", one.best.doubts)


def _noted(found: Answered, whole: bool) -> Answered:
    return found if whole or found.text is None else replace(found, reasons=(*found.reasons, SHORTENED))


def _settled(trees: "_Trees", row: int, found: Answered, progress: Progress) -> list[_Asked]:
    """Note what became of a reply; return what can be asked for now."""
    before = len(trees.answers)
    ready = [_Asked(reply) for reply in trees.settle(row, found)]
    progress.advance(len(trees.answers) - before)
    return ready


class _Trees:
    """The trees of a shard while their replies are answered: `waiting` are the rows of these, `answers` what became.

    A reply can be asked for when all messages before it are there, and alternate as a conversation's do.
    """

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = rows
        self.waiting = [at for at, row in enumerate(rows) if row.status == AWAITING]
        self.answers: dict[int, Answered] = {}
        self._by_id = {row.id: at for at, row in enumerate(rows)}
        self._children: dict[str, list[int]] = defaultdict(list)
        for at, row in enumerate(rows):
            if row.parent is not None:
                self._children[row.parent].append(at)
        self._systems = {row.tree: row.text or "" for row in rows if row.parent is None and row.role == "system"}

    def first(self) -> list[int]:
        """Return the replies that can be asked for before any is answered."""
        roots = [at for at, row in enumerate(self.rows) if row.parent is None]
        return [reply for at in roots for reply in self._reached([at], None)]

    def settle(self, reply: int, found: Answered) -> list[int]:
        """Take what became of a reply; return those that can be asked for now."""
        self.answers[reply] = found
        children = self._children[self.rows[reply].id]
        if found.text is None:
            return self._lost(children)
        return self._reached(children, "assistant")

    def give_up(self) -> None:
        """Take those as failed that no root leads to: of damaged trees, or of a question in another shard."""
        self._lost([at for at in self.waiting if at not in self.answers])

    def parent(self, row: int) -> int:
        """Return the row of the message that a reply answers."""
        return self._by_id[self.rows[row].parent or ""]

    def before(self, row: int) -> Iterator[Turn]:
        """Yield the turns before a message, the last first."""
        while (parent := self.rows[row].parent) is not None:
            row = self._by_id[parent]
            if self.rows[row].role != "system":
                yield _TURNS[self.rows[row].role], self._text(row)

    def system(self, row: int) -> str:
        """Return the text of the system message of a message's conversation; empty where it has none."""
        return self._systems.get(self.rows[row].tree, "")

    def _text(self, row: int) -> str:
        return (self.answers[row].text if row in self.answers else self.rows[row].text) or ""

    def _reached(self, messages: Sequence[int], above: str | None) -> list[int]:
        """Return the replies that can be asked for among messages and those below, whose parent's role is `above`."""
        found = []
        stack = [(at, above) for at in reversed(messages)]
        while stack:
            at, role = stack.pop()
            row = self.rows[at]
            if role not in _AFTER[row.role] or (row.status != AWAITING and not self._says_something(row)):
                self._lost([at])
            elif row.status == AWAITING:
                found.append(at)
            else:
                stack += [(child, row.role) for child in reversed(self._children[row.id])]
        return found

    @staticmethod
    def _says_something(row: _Row) -> bool:
        return row.status != "failed" and bool((row.text or "").strip())

    def _lost(self, messages: Sequence[int]) -> list[int]:
        """Take the replies among messages and those below as failed; return that none can be asked for."""
        stack = list(messages)
        seen = set(stack)
        while stack:
            at = stack.pop()
            if self.rows[at].status == AWAITING:
                self.answers.setdefault(at, Answered(None, "failed", (NOT_ASKED,)))
            below = [child for child in self._children[self.rows[at].id] if child not in seen]
            seen.update(below)
            stack += below
        return []


def _table(shard: pa.Table, trees: _Trees, model: str, name: str) -> pa.Table:
    """Return the shard with the answers in the place of what waited for them."""
    written = dict.fromkeys(_OF_THE_REPLY) | {"model": model, "synthetic": True, "model_name": name}
    # A person may still write what has failed.
    unwritten: dict[str, Any] = dict.fromkeys(written)
    return _changed(
        shard,
        {
            row: (unwritten if found.text is None else written)
            | {"text": found.text, "status": found.status, "reasons": list(found.reasons)}
            for row, found in trees.answers.items()
        },
    )


def _changed(shard: pa.Table, rows: Mapping[int, Mapping[str, Any]]) -> pa.Table:
    """Return a table with other values in some rows, which all have the same columns."""
    for column in next(iter(rows.values()), ()):
        values = shard[column].to_pylist()
        for row, changed in rows.items():
            values[row] = changed[column]
        at, field = shard.schema.get_field_index(column), shard.schema.field(column)
        shard = shard.set_column(at, field, pa.array(values, field.type))
    return shard
