"""Preference pairs: two replies to a user's message by rank, and an account of all other messages."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from mothertongue.dataset.trees import Budget, Message, by_tree, characters, depths, obstacles, path_to, renamed

# What the id of a reply's translation has beside the teacher's answer, which has the reply's own; a message's has none.
_TRANSLATION = "\0translation"
# The role and status of translations that are compared, and the statuses of answers.
_COMPARED, _TAUGHT = ("assistant", "translated"), ("answered", "corrected")
# Outcomes of questions and of replies that are in a pair.
_IN_PAIR, _CHOSEN, _REJECTED = "in a pair", "chosen", "rejected"


@dataclass(frozen=True)
class PreferencePair:
    """A conversation up to a user's message, and two replies to it: `chosen` is ranked above `rejected`."""

    prompt: list[Message]
    chosen: Message
    rejected: Message


@dataclass
class Preferences:
    """The pairs of trees, and an account: `questions` counts prompter messages by outcome, `replies` the assistant's.

    `counted` is the number of pairs that `count` has counted.
    """

    pairs: list[PreferencePair] = field(default_factory=list)
    questions: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    counted: int = 0

    def count(self, other: "Preferences") -> None:
        """Add the account of other trees, and the number of their pairs."""
        self.counted += len(other.pairs)
        self.questions.update(other.questions)
        self.replies.update(other.replies)

    def left_out(self, reason: str) -> "Preferences":
        """Return the preferences without their pairs, whose questions and replies are counted by the reason."""
        return Preferences(
            questions=renamed(self.questions, {_IN_PAIR: reason}),
            replies=renamed(self.replies, {_CHOSEN: reason, _REJECTED: reason}),
        )

    def said(self) -> Iterator[Message]:
        """Yield the messages of the pairs."""
        return (message for pair in self.pairs for message in (*pair.prompt, pair.chosen, pair.rejected))


def find_pairs(messages: Iterable[Message], how: str = "best_vs_worst") -> Preferences:
    """Return the preferences of all trees in one; see `preferences`. Trees are in the order of their first messages."""
    found = Preferences()
    for one in preferences(by_tree(messages).values(), how):
        found.count(one)
        found.pairs += one.pairs
    return found


def preferences(trees: Iterable[list[Message]], how: str = "best_vs_worst") -> Iterator[Preferences]:
    """Yield the preferences of each tree: pairs of replies to every user's message that a conversation can reach.

    As in threads, conversations exclude messages that are deleted, rejected in review, failed or empty,
    and all messages below them. The other replies to a message are compared by rank: the best is `chosen` (ties go to
    the earlier created_date, then to the smaller message_id); among those with a higher rank number and a different
    text, `rejected` is the worst (`best_vs_worst`) or each in turn (`best_vs_all`). Unranked replies form no pairs.

    The pairs of a tree are in the order of date, then id, of the user's message.

    Time is linear in the messages and in the size of the pairs. Raise UserError where a message is its own ancestor, or
    where the pairs' conversations exceed the `Budget`.
    """
    budget = Budget("pairs")
    for members in trees:
        budget.see(members)
        yield _of_tree(members, how, budget)


def _of_tree(members: list[Message], how: str, budget: Budget) -> Preferences:
    found = Preferences()
    kept_out = obstacles(members)
    found.replies.update(reason for m in members if m.role == "assistant" and (reason := kept_out[m.id]))
    by_id = {message.id: message for message in members}
    depth, sizes = depths(members), characters(members)
    answers = _answers(members)
    for question in sorted((m for m in members if m.role == "prompter"), key=lambda m: (m.created, m.id)):
        if reason := kept_out[question.id] or (None if answers[question.id] else "no reply"):
            found.questions[reason] += 1
            continue
        usable = [reply for reply in answers[question.id] if not kept_out[reply.id]]
        outcome, rejected = _compare(usable, how)
        found.questions[outcome] += 1
        if not rejected:
            found.replies.update(outcome for _ in usable)
            continue
        budget.hold(
            question.tree,
            messages=len(rejected) * (depth[question.id] + 1),
            characters=sum(sizes[usable[0].id] + len(reply.text or "") for reply in rejected),
        )
        prompt = path_to(question, by_id)
        found.pairs.extend(PreferencePair(prompt, usable[0], reply) for reply in rejected)
        worse, best = {reply.id for reply in rejected}, _stripped(usable[0])
        found.replies.update(_REJECTED if m.id in worse else _outcome(m, usable[0], best) for m in usable)
    return found


def translated_replies(shards: Iterable[pa.Table]) -> dict[str, str]:
    """Return the translations of the assistant's messages to which no check objects, by id; all are held in memory."""
    found: dict[str, str] = {}
    for shard in shards:
        columns = (shard[name].to_pylist() for name in ("message_id", "role", "status", "text"))
        found |= {id_: text for id_, role, status, text in zip(*columns, strict=True) if (role, status) == _COMPARED}
    return found


def beside(trees: Iterable[list[Message]], translations: Mapping[str, str]) -> Iterator[list[Message]]:
    """Yield trees with the translation of a reply beside each answer of a teacher, ranked below it.

    An answer that a check flagged has none.
    """
    for members in trees:
        taught = {one.id for one in members if one.status in _TAUGHT and one.id in translations}
        ranked = [replace(one, rank=0) if one.id in taught else one for one in members]
        lower = [
            replace(one, id=one.id + _TRANSLATION, rank=1, text=translations[one.id])
            for one in members
            if one.id in taught
        ]
        yield [*ranked, *lower]


def as_rows(pairs: Iterable[PreferencePair], system_prompt: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of the preferences file.

    `system_prompt` begins every prompt without a system message of its own, empty for none.
    """
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    for pair in pairs:
        own = pair.prompt[0].role == "system"
        yield {
            "prompt": ([] if own else system) + [message.turn for message in pair.prompt],
            "chosen": [pair.chosen.turn],
            "rejected": [pair.rejected.turn],
            "message_tree_id": pair.chosen.tree,
            "message_ids": [
                message.id.removesuffix(_TRANSLATION) for message in (*pair.prompt, pair.chosen, pair.rejected)
            ],
        }


def _answers(members: list[Message]) -> dict[str | None, list[Message]]:
    """Return the assistant messages by parent id, the best first."""
    answers: dict[str | None, list[Message]] = defaultdict(list)
    for message in sorted(members, key=lambda message: message.preference):
        if message.role == "assistant":
            answers[message.parent].append(message)
    return answers


def _compare(replies: list[Message], how: str) -> tuple[str, list[Message]]:
    """Return a question's outcome and the rejected replies, from its usable replies in order of preference."""
    if len(replies) < 2:
        return ("one usable reply" if replies else "no usable reply"), []
    ranked = [(reply.rank, reply) for reply in replies if reply.rank is not None]
    if len(ranked) < 2:
        return "fewer than two ranked", []
    lowest, best = ranked[0]
    worse = [reply for rank, reply in ranked if rank > lowest]
    if not worse:
        return "equal ranks", []
    text = _stripped(best)
    different = [reply for reply in worse if _stripped(reply) != text]
    if not different:
        return "same text", []
    return _IN_PAIR, different[-1:] if how == "best_vs_worst" else different


def _outcome(reply: Message, chosen: Message, text: str) -> str:
    """Return the outcome of a reply that is not `rejected`, where its siblings form pairs; `text` is the chosen's."""
    if reply is chosen:
        return _CHOSEN
    if reply.rank is None:
        return "unranked"
    if reply.rank == chosen.rank:
        return "as good as the chosen"
    return "same text as the chosen" if _stripped(reply) == text else "better than the rejected"


def _stripped(message: Message) -> str:
    return (message.text or "").strip()
