"""Conversation trees: selecting each tree's threads for training, and accounting for every other message."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.errors import UserError

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
# The maximum ratio of messages, and of characters, in all conversations to those in the trees. Conversations repeat
# the beginnings that they share: a file grows as the square of their length or number. OASST1 has a ratio below 2.
_SHARED = 200


@dataclass(frozen=True)
class Message:
    """The fields of a message that the selection uses."""

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

    @property
    def objection(self) -> str | None:
        """The reason why the message itself cannot be part of a thread; None where it can."""
        if self.deleted:
            return "deleted"
        if self.review_result is False:
            return "rejected in review"
        if self.status == "failed":
            return "failed translation"
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


@dataclass(frozen=True)
class Selection:
    """The selected threads, one list of messages each, and an account of every tree and message.

    `trees` counts trees by outcome ("thread" or the reason for none), `messages` counts messages by outcome;
    `without_thread` maps each tree without a thread to its reason.
    """

    threads: list[list[Message]] = field(default_factory=list)
    trees: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    without_thread: dict[str, str] = field(default_factory=dict)

    def without(self, trees: Iterable[str], reason: str) -> "Selection":
        """Return the selection without the threads of some trees, whose messages in them are counted by the reason."""
        left_out = set(trees)
        gone = [thread for thread in self.threads if thread[0].tree in left_out]
        messages = {message.id for thread in gone for message in thread}
        found = {thread[0].tree for thread in gone}
        return Selection(
            [thread for thread in self.threads if thread[0].tree not in left_out],
            moved(self.trees, "thread", reason, len(found)),
            moved(self.messages, "in a thread", reason, len(messages)),
            {**self.without_thread, **dict.fromkeys(sorted(found), reason)},
        )


def moved(counts: Mapping[str, int], before: str, after: str, number: int) -> dict[str, int]:
    """Return counts with a number moved from one outcome to another."""
    if not number:
        return dict(counts)
    changed = {**counts, before: counts.get(before, 0) - number, after: counts.get(after, 0) + number}
    return dict(sorted((outcome, count) for outcome, count in changed.items() if count))


def select(messages: Iterable[Message], how: str = "best") -> Selection:
    """Select the threads of all trees.

    `best` selects one thread per tree. It starts at the root, a prompter's message or one of the system before it, and
    at each step takes, among the usable children (not
    deleted, not rejected in review (review_result is false), not failed in translation, with visible text), the one
    with the lowest rank; unranked children follow ranked ones, ties go to the earlier created_date, then to the smaller
    message_id. It stops where there is no such child, and is cut back to its last assistant message. A tree whose
    thread has no assistant message has no thread, and the reason is counted.

    `all` selects one thread for every branch that prompters opened: after each assistant message it follows every
    usable prompter child that has an answer, always by the best answer. Such threads share their beginnings.

    A child in its parent's role cannot continue a conversation and counts as unusable.

    Time is linear in the messages and in the threads. Raise UserError where a message is its own ancestor, or where the
    threads exceed the `Budget`.
    """
    threads: list[list[Message]] = []
    tree_counts: dict[str, int] = defaultdict(int)
    message_counts: dict[str, int] = defaultdict(int)
    without: dict[str, str] = {}
    budget = Budget("threads")
    for tree, members in by_tree(messages).items():
        budget.see(members)
        chosen, reason = _select_tree(members, how, budget)
        threads.extend(chosen)
        tree_counts[reason or "thread"] += 1
        if reason:
            without[tree] = reason
        for outcome in _outcomes(members, chosen).values():
            message_counts[outcome] += 1
    return Selection(threads, dict(sorted(tree_counts.items())), dict(sorted(message_counts.items())), without)


def of_threads(messages: pa.Table, how: str) -> pa.Table:
    """Return the source messages (see messages.MESSAGES) in the threads of all trees, in order.

    Where no translation fails, `select` returns the same threads for these as for all messages.
    """
    selection = select(_untranslated(messages), how)
    used = {message.id for thread in selection.threads for message in thread}
    return messages.filter(pa.array([id_ in used for id_ in messages["message_id"].to_pylist()], pa.bool_()))


def documents(messages: pa.Table, source: str) -> list[Document]:
    """Return the best thread of each tree of source messages as a document; `source` is the name of theirs."""
    found = _untranslated(messages)
    sizes = Counter(message.tree for message in found)
    return [
        Document(
            thread[0].tree,
            source,
            "\n".join(message.text or "" for message in thread if message.role != "system"),
            sizes[thread[0].tree],
        )
        for thread in select(found).threads
    ]


def without(messages: pa.Table, left_out: Set[str]) -> pa.Table:
    """Return the messages that are in none of these trees."""
    kept = [tree not in left_out for tree in messages["message_tree_id"].to_pylist()]
    return messages.filter(pa.array(kept, pa.bool_()))


def originals(dataset: pa.Table, lang: str) -> list[Message]:
    """Return a dataset's messages from a source language in their original text; none from the target language."""
    own = dataset.filter(pc.and_(pc.equal(dataset["source_lang"], lang), pc.not_equal(dataset["lang"], lang)))
    texts = own.set_column(own.schema.get_field_index("text"), "text", own["source_text"])
    return [replace(message, status="native") for message in from_table(texts)]


def _untranslated(messages: pa.Table) -> list[Message]:
    """Return source messages, which have no status yet, as native ones."""
    return from_table(messages.append_column("status", pa.array(["native"] * len(messages), pa.string())))


def from_table(table: pa.Table) -> list[Message]:
    """Return the messages of a translated table (see messages.TRANSLATED), in its order."""
    names = [
        *("message_id", "parent_id", "message_tree_id", "role", "text", "rank", "created_date"),
        *("deleted", "review_result", "status"),
    ]
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    return [
        Message(id_, parent, tree, role, text, rank, created or "", bool(deleted), review, status)
        for id_, parent, tree, role, text, rank, created, deleted, review, status in rows
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
            return "in a thread"
        if reason := kept_out[message.id]:
            return reason
        if message.parent is None:
            return "in a tree without a thread" if not threads else "not the best of its siblings"
        if message.role == "prompter" and not _candidates(message, children):
            return "unanswered"
        above = outcomes[message.parent]
        return "not the best of its siblings" if above == "in a thread" else above

    for message in _top_down(members):
        outcomes[message.id] = outcome(message)
    return outcomes
