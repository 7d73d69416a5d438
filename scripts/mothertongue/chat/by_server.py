"""Conversations answered by a server of one's own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from mothertongue.chat.conversation import Fitting
from mothertongue.chat.conversation import answer_all as answer_fitting
from mothertongue.chat.prompt_file import Reply
from mothertongue.prompts.templates import Message
from mothertongue.serving import many
from mothertongue.serving.asking import Asking, as_they_are
from mothertongue.serving.forwarding import Forwarding
from mothertongue.serving.requests import Asked, Refusal


def answer_all(
    server: Forwarding, model: str, chats: Mapping[int, list[Message]], advance: Callable[[int], None]
) -> dict[int, Reply]:
    """Let a model of a server answer many conversations; see `conversation.answer_all`. End the server.

    Raise UserError where it fails.
    """

    def answer(fitting: Sequence[Fitting]) -> list[Reply]:
        asked = [Asked(model, as_they_are(messages)) for messages, _ in fitting]
        found = many.answer_all(server, asked, advance)
        return [
            Reply(None, error=str(one)) if isinstance(one, Refusal) else Reply(one.text, one.ended) for one in found
        ]

    try:
        return answer_fitting(chats, server.asking, answer)
    finally:
        server.stop()


def window_for(chats: Iterable[list[Message]], asking: Asking) -> int:
    """Return the tokens of the longest conversation and of its answer; the model's own window may be smaller."""
    longest = 0
    for messages in chats:
        with suppress(Refusal):  # which is told when it is asked
            longest = max(longest, len(asking.tokens(Asked("", messages))))
    return longest + asking.decoding.max_new_tokens
