"""Conversations answered by a server of one's own."""

from collections.abc import Callable, Mapping, Sequence

from mothertongue.chat.conversation import answer_all as answer_fitting
from mothertongue.chat.prompt_file import Reply
from mothertongue.prompts.templates import Message
from mothertongue.serving import many
from mothertongue.serving.forwarding import Forwarding
from mothertongue.serving.requests import Asked, Refusal


def answer_all(
    server: Forwarding, model: str, chats: Mapping[int, list[Message]], advance: Callable[[int], None]
) -> dict[int, Reply]:
    """Let a model of a server answer many conversations; see `conversation.answer_all`. End the server.

    Raise UserError where it fails.
    """

    def answer(fitting: Sequence[list[Message]]) -> list[Reply]:
        found = many.answer_all(server, [Asked(model, messages) for messages in fitting], advance)
        return [
            Reply(None, error=str(one)) if isinstance(one, Refusal) else Reply(one.text, one.ended) for one in found
        ]

    try:
        return answer_fitting(chats, server.asking, answer)
    finally:
        server.stop()
