"""Conversation trees: selecting each tree's threads for training, and accounting for every other message."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.errors import UserError
from mothertongue.formats.messages import TEACHER

_ROLES = {"system": "system", "prompter": "user", "assistant": "assistant"}
# The roles that may follow a message; None is before the first.
_FOLLOW = {
    None: ("system", "prompter"),
    "system": ("prompter",),
    "prompter": ("assistant",),
    "assistant": ("prompter",),
}
# A text without visible characters: white space, control characters, joiners, direction marks, fillers, variation
# selectors, byte order marks, lone surrogates.
_BLANK = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]*"
)
# The outcomes of a tree that has a thread, and of a message in one.
_THREAD, _IN_THREAD = "thread", "in a thread"
# The columns that the fields of a message are read from, in their order.
STATUS, ROUTE = "status", "route"
COLUMNS = (
    *("message_id", "parent_id", "message_tree_id", "role", "text", "rank", "created_date"),
    *("deleted", "review_result", STATUS, ROUTE),
)
# What source messages have in the columns that they lack.
_OF_THE_SOURCE = {STATUS: "native", ROUTE: ""}
# The maximum ratio of messages, and of characters, in all conversations to those in the trees. Conversations repeat
# the beginnings that they share: a file grows as the square of their length or number. OASST1 has a ratio below 2.
_SHARED = 200


@dataclass(frozen=True)
class Message:
    """The fields of a message that the selection uses; a source message has no route."""

    id: str
    parent: str | None
    tree: str
    role: str
    text: str | None
    rank: int | None
    created: str
    deleted: bool
    review_result: bool | None
    status: str
    route: str = ""

    @property
    def objection(self) -> str | None:
        """The reason why the message itself cannot be part of a thread; None where it can."""
        if self.deleted:
            return "deleted"
        if self.review_result is False:
            return "rejected in review"
        if self.status == "failed":
            return "failed answer" if self.route == TEACHER else "failed translation"
        if _BLANK.fullmatch(self.text or ""):
            return "empty"
        return None

    @property
    def preference(self) -> tuple[bool, int, str, str]:
        """The sort key among siblings, the best first: rank 0 is the best, unranked messages follow ranked ones."""
        return (self.rank is None, self.rank or 0, self.created, self.id)

    @property
    def turn(self) -> dict[str, str]:
        """The message in the format of chat models: role (system, user or assistant) and content."""
        return {"role": _ROLES[self.role], "content": self.text or ""}


@dataclass(frozen=True)
class Document:
    """What users and assistants say in a tree's best thread; `messages` are those of the whole tree.

    `source` is the name of its dataset, empty where there is one.
    """

    tree: str
    source: str
    text: str
    messages: int


@dataclass
class Selection:
    """The selected threads of trees, one list of messages each, and an account of every tree and message.

    `trees` counts trees by outcome ("thread" or the reason for none), `messages` counts messages by outcome;
    `without_thread` maps each tree without a thread to its reason. `counted` is the number of threads that `count` has
    counted.
    """

    threads: list[list[Message]] = field(default_factory=list)
    trees: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    without_thread: dict[str, str] = field(default_factory=dict)
    counted: int = 0

    def count(self, other: "Selection") -> None:
        """Add the account of other trees, and the number of their threads."""
        self.counted += len(other.threads)
        self.trees.update(other.trees)
        self.messages.update(other.messages)
        self.without_thread.update(other.without_thread)

    def left_out(self, reason: str) -> "Selection":
        """Return the selection without its threads: they and their messages are counted by the reason."""
        return Selection(
            trees=renamed(self.trees, {_THREAD: reason}),
            messages=renamed(self.messages, {_IN_THREAD: reason}),
            without_thread=self.without_thread,
        )

    def said(self) -> Iterator[Message]:
        """Yield the messages of the threads."""
        return (message for thread in self.threads for message in thread)


def renamed(counts: Mapping[str, int], names: Mapping[str, str]) -> Counter[str]:
    """Return counts with other names for some outcomes."""
    found: Counter[str] = Counter()
    for outcome, count in counts.items():
        found[names.get(outcome, outcome)] += count
    return found


def select(messages: Iterable[Message], how: str = "best") -> Selection:
    """Return the selection of all trees in one; see `selections`. Trees are in the order of their first messages."""
    found = Selection()
    for one in selections(by_tree(messages).values(), how):
        found.count(one)
        found.threads += one.threads
    return found


def selections(trees: Iterable[list[Message]], how: str = "best") -> Iterator[Selection]:
    """Yield the selection of each tree.

    `best` selects one thread per tree. It starts at the root, a prompter's message or one of the system before it, and
    at each step takes, among the usable children (not deleted, not rejected in review (review_result is false), not
    failed, with visible text), the one with the lowest rank; unranked children follow ranked ones, ties
    go to the earlier created_date, then to the smaller message_id. It stops where there is no such child, and is cut
    back to its last assistant message. A tree whose thread has no assistant message has no thread, and the reason is
    counted.

    `all` selects one thread for every branch that prompters opened: after each assistant message it follows every
    usable prompter child that has an answer, always by the best answer. Such threads share their beginnings.

    A child in its parent's role cannot continue a conversation and counts as unusable.

    Time is linear in the messages and in the threads. Raise UserError where a message is its own ancestor, or where the
    threads exceed the `Budget`.
    """
    budget = Budget("threads")
    for members in trees:
        budget.see(members)
        threads, reason = _select_tree(members, how, budget)
        yield Selection(
            threads,
            Counter([reason or _THREAD]),
            Counter(_outcomes(members, threads).values()),
            {members[0].tree: reason} if reason else {},
        )


def document(members: list[Message], source: str) -> Document | None:
    """Return the best thread of a tree of the source `source` as a document; None without a thread."""
    for thread in select(members).threads:
        text = "\n".join(message.text or "" for message in thread if message.role != "system")
        return Document(members[0].tree, source, text, len(members))
    return None


def originals(dataset: pa.Table, lang: str) -> list[Message]:
    """Return a dataset's messages from a source language in their original text; none from the target language."""
    own = dataset.filter(pc.and_(pc.equal(dataset["source_lang"], lang), pc.not_equal(dataset["lang"], lang)))
    texts = own.set_column(own.schema.get_field_index("text"), "text", own["source_text"])
    return [replace(message, status="native") for message in from_table(texts)]


def from_table(table: pa.Table) -> list[Message]:
    """Return the messages of a table, in its order; source messages, which have no status yet, as native ones."""
    columns = [
        table[name].to_pylist() if name in table.column_names else [_OF_THE_SOURCE[name]] * len(table)
        for name in COLUMNS
    ]
    return [
        Message(id_, parent, tree, role, text, rank, created or "", bool(deleted), review, status, route)
        for id_, parent, tree, role, text, rank, created, deleted, review, status, route in zip(*columns, strict=True)
    ]


def by_tree(messages: Iterable[Message]) -> dict[str, list[Message]]:
    """Return the messages of each tree by its id; trees are in the order of their first messages."""
    trees: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        trees[message.tree].append(message)
    return trees


def depths(members: list[Message]) -> dict[str, int]:
    """Return the depth of each message in a tree, 0 for roots, by id.

    Raise UserError where a message is its own ancestor.
    """
    by_id = {message.id: message for message in members}
    found: dict[str, int] = {}
    for message in members:
        path: dict[str, None] = {}
        node: Message | None = message
        while node and node.id not in found:
            if node.id in path:
                raise UserError(f"message {node.id} is its own ancestor (parent_id cycle)")
            path[node.id] = None
            node = by_id.get(node.parent) if node.parent is not None else None
        above = found[node.id] if node else -1
        found |= {id_: above + steps for steps, id_ in enumerate(reversed(path), start=1)}
    return found


def characters(members: list[Message]) -> dict[str, int]:
    """Return the number of characters from the root to each message of a tree, inclusive, by id."""
    found: dict[str, int] = {}
    for message in _top_down(members):
        above = found.get(message.parent, 0) if message.parent is not None else 0
        found[message.id] = above + len(message.text or "")
    return found


class Budget:
    """The limit on the total size of conversations, in proportion to the messages and characters of the trees.

    Conversations repeat the beginnings that they share: those of a tree of n messages can have n * n / 8 messages in
    all, and n / 2 of them can begin with the same long message.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._seen = {"messages": 0, "characters": 0}
        self._held = dict(self._seen)

    def see(self, members: list[Message]) -> None:
        """Add the messages and characters of a tree to the allowance."""
        self._seen["messages"] += len(members)
        self._seen["characters"] += sum(len(message.text or "") for message in members)

    def hold(self, tree: str, **held: int) -> None:
        """Add the `messages` and `characters` of a tree's conversations to the total.

        Raise UserError where a total exceeds _SHARED times the allowance.
        """
        for unit, count in held.items():
            self._held[unit] += count
            if self._held[unit] > _SHARED * self._seen[unit]:
                raise UserError(
                    f"tree {tree}: the {self._what} up to here hold {self._held[unit]:,} {unit}, more than {_SHARED} "
                    f"times the {self._seen[unit]:,} that there are; leave out its longest conversations"
                )


def obstacles(members: list[Message]) -> dict[str, str | None]:
    """Return why each message of a tree, or an ancestor, cannot be part of a conversation, by id; None where it can.

    The ancestors of a message without obstacle have none: roles alternate from a prompter's message to the message,
    after a system message where the root is one.
    Raise UserError where a message is its own ancestor.
    """
    by_id = {message.id: message for message in members}
    found: dict[str, str | None] = {}

    def obstacle(message: Message) -> str | None:
        if message.objection:
            return message.objection
        if message.parent is None:
            return None if _usable(message, None) else "root is not a prompter"
        parent = by_id.get(message.parent)
        if parent is None:
            return "below a missing message"
        if not _usable(message, parent):
            return "system message within a conversation" if message.role == "system" else "in its parent's role"
        above = found[parent.id]
        return above if above is None or above.startswith("below") else "below an unusable message"

    for message in _top_down(members):
        found[message.id] = obstacle(message)
    return found


def path_to(message: Message, by_id: dict[str, Message]) -> list[Message]:
    """Return the conversation from the root to a message without obstacles."""
    path = [message]
    while path[-1].parent is not None:
        path.append(by_id[path[-1].parent])
    return path[::-1]


def _select_tree(members: list[Message], how: str, budget: Budget) -> tuple[list[list[Message]], str | None]:
    """Return the threads of one tree, and the reason where there is none."""
    children = _children(members)
    roots = sorted((message for message in members if message.parent is None), key=lambda m: m.preference)
    if not roots:
        return [], "no root"
    root = next((message for message in roots if _usable(message, None)), None)
    if root is None:
        objection = roots[0].objection
        return [], f"root {objection}" if objection else "root is not a prompter"
    ends = [(last, length) for last, length in _ends(root, children, how) if length > 1]
    if not ends:
        return [], "no usable reply" if children[root.id] else "no reply"
    sizes = characters(members)
    budget.hold(
        root.tree,
        messages=sum(length for _, length in ends),
        characters=sum(sizes[last.id] for last, _ in ends),
    )
    by_id = {message.id: message for message in members}
    return [path_to(last, by_id) for last, _ in ends], None


def _ends(root: Message, children: dict[str, list[Message]], how: str) -> list[tuple[Message, int]]:
    """Return the last (assistant) message and the length of each thread from `root`; `root` and 1 without an answer."""
    finished = []
    starts = _candidates(root, children) if root.role == "system" else [root]
    if how == "best":
        starts = starts[:1]
    growing = [(root, start, 1 + (start is not root)) for start in reversed(starts)]
    while growing:
        before, question, length = growing.pop()
        answers = _candidates(question, children)
        if not answers:
            finished.append((before, max(1, length - 1)))
            continue
        questions = _candidates(answers[0], children)
        if how == "best":
            questions = questions[:1]
        else:
            questions = [question for question in questions if _candidates(question, children)]
        if questions:
            growing.extend((answers[0], question, length + 2) for question in reversed(questions))
        else:
            finished.append((answers[0], length + 1))
    return finished


def _children(members: list[Message]) -> dict[str, list[Message]]:
    children: dict[str, list[Message]] = defaultdict(list)
    for message in members:
        if message.parent is not None:
            children[message.parent].append(message)
    return children


def _candidates(parent: Message, children: dict[str, list[Message]]) -> list[Message]:
    """Return the usable children, the best first."""
    return sorted(
        (child for child in children.get(parent.id, []) if _usable(child, parent)), key=lambda m: m.preference
    )


def _usable(message: Message, parent: Message | None) -> bool:
    return message.objection is None and message.role in _FOLLOW[parent.role if parent else None]


def _top_down(members: list[Message]) -> list[Message]:
    """Return the messages of a tree in topological order: each after its parent."""
    depth = depths(members)
    return sorted(members, key=lambda message: depth[message.id])


def _outcomes(members: list[Message], threads: list[list[Message]]) -> dict[str, str]:
    """Return the outcome of each message: `in a thread`, or the reason why it is not."""
    children = _children(members)
    kept_out = obstacles(members)
    used = {message.id for thread in threads for message in thread}
    outcomes: dict[str, str] = {}

    def outcome(message: Message) -> str:
        if message.id in used:
            return _IN_THREAD
        if reason := kept_out[message.id]:
            return reason
        if message.parent is None:
            return "in a tree without a thread" if not threads else "not the best of its siblings"
        if message.role == "prompter" and not _candidates(message, children):
            return "unanswered"
        above = outcomes[message.parent]
        return "not the best of its siblings" if above == _IN_THREAD else above

    for message in _top_down(members):
        outcomes[message.id] = outcome(message)
    return outcomes
