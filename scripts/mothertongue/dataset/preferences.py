"""Preferences: which reply to a user's message was ranked above which, and what becomes of every other message."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mothertongue.dataset.trees import Budget, Message, by_tree, characters, depths, obstacles, path_to


@dataclass(frozen=True)
class PreferencePair:
    """A conversation up to the user's message, and two replies to it: `chosen` was ranked above `rejected`."""

    prompt: list[Message]
    chosen: Message
    rejected: Message


@dataclass(frozen=True)
class Preferences:
    """The pairs, and an account: `questions` counts the prompters' messages by outcome, `replies` the assistants'."""

    pairs: list[PreferencePair]
    questions: dict[str, int]
    replies: dict[str, int]


def find_pairs(messages: Iterable[Message], how: str = "best_vs_worst") -> Preferences:
    """Pair the replies to every user's message that a conversation can reach, in any branch of its tree.

    As with threads, a conversation holds no message that is deleted, rejected in review, failed in translation or
    empty, and none below such a one. Of the other replies to a message those with a rank are compared: the best one is
    `chosen` (ties go to the earlier created_date, then to the smaller message_id), and of those with a higher rank and
    another text, `rejected` is the worst (`best_vs_worst`) or each in turn (`best_vs_all`).

    Trees come in the order of their first messages, the pairs of a tree by the date of the user's message, then its id.

    The time is linear in the messages and in what the pairs hold. Raises UserError where a message is its own ancestor,
    and where the pairs' conversations would be too long altogether.
    """
    pairs: list[PreferencePair] = []
    questions: Counter[str] = Counter()
    replies: Counter[str] = Counter()
    budget = Budget("pairs")
    for members in by_tree(messages).values():
        budget.see(members)
        kept_out = obstacles(members)
        replies.update(reason for m in members if m.role == "assistant" and (reason := kept_out[m.id]))
        by_id = {message.id: message for message in members}
        depth, sizes = depths(members), characters(members)
        answers = _answers(members)
        for question in sorted((m for m in members if m.role == "prompter"), key=lambda m: (m.created, m.id)):
            if reason := kept_out[question.id] or (None if answers[question.id] else "no reply"):
                questions[reason] += 1
                continue
            usable = [reply for reply in answers[question.id] if not kept_out[reply.id]]
            outcome, rejected = _compare(usable, how)
            questions[outcome] += 1
            if not rejected:
                replies.update(outcome for _ in usable)
                continue
            budget.hold(
                question.tree,
                messages=len(rejected) * (depth[question.id] + 1),
                characters=sum(sizes[usable[0].id] + len(reply.text or "") for reply in rejected),
            )
            prompt = path_to(question, by_id)
            pairs.extend(PreferencePair(prompt, usable[0], reply) for reply in rejected)
            worse, best = {reply.id for reply in rejected}, _stripped(usable[0])
            replies.update("rejected" if m.id in worse else _outcome(m, usable[0], best) for m in usable)
    return Preferences(pairs, dict(sorted(questions.items())), dict(sorted(replies.items())))


def as_rows(pairs: list[PreferencePair], system_prompt: str) -> Iterator[dict[str, Any]]:
    """The rows of the preferences file; `system_prompt` begins every prompt, empty for none."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    for pair in pairs:
        yield {
            "prompt": system + [message.turn for message in pair.prompt],
            "chosen": [pair.chosen.turn],
            "rejected": [pair.rejected.turn],
            "message_tree_id": pair.chosen.tree,
        }


def _answers(members: list[Message]) -> dict[str | None, list[Message]]:
    """The assistant's messages by what they reply to, the best first."""
    answers: dict[str | None, list[Message]] = defaultdict(list)
    for message in sorted(members, key=lambda message: message.preference):
        if message.role == "assistant":
            answers[message.parent].append(message)
    return answers


def _compare(replies: list[Message], how: str) -> tuple[str, list[Message]]:
    """What becomes of a question by its usable replies, the best first, and those that the best is preferred to."""
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
    return "in a pair", different[-1:] if how == "best_vs_worst" else different


def _outcome(reply: Message, chosen: Message, text: str) -> str:
    """What became of a reply that is in no pair as the worse, where its siblings gave pairs; `text` is the chosen's."""
    if reply is chosen:
        return "chosen"
    if reply.rank is None:
        return "unranked"
    if reply.rank == chosen.rank:
        return "as good as the chosen"
    return "same text as the chosen" if _stripped(reply) == text else "better than the rejected"


def _stripped(message: Message) -> str:
    return (message.text or "").strip()
