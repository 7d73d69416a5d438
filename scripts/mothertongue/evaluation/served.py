"""Answers of the compared models by a server that is started for them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.evaluation.generation import Answering
from mothertongue.evaluation.loaded_models import Compared
from mothertongue.evaluation.settings import ServerSettings
from mothertongue.models.answering import Decoding
from mothertongue.prompts.templates import Message
from mothertongue.serving import many, own_server
from mothertongue.serving.requests import Asked, Refusal


@contextmanager
def by_server(
    compared: Compared,
    settings: ServerSettings,
    ggufs: own_server.Files,
    longest: int,
    max_new_tokens: int,
    seed: int,
    output: Path,
) -> Iterator[Answering]:
    """Start a server of the compared models; yield a function by which they answer, with greedy decoding.

    `longest` is the longest prompt in tokens, `output` the file for what the server prints. Raise UserError where it
    does not start.
    """
    window = longest + max_new_tokens
    plan = own_server.plan_for_many(
        settings.engine, settings.program, settings.server_option, window, seed, output=output
    )
    speaks = own_server.asking("", Decoding(max_new_tokens))
    more = {"sft": compared.sft_adapter} if compared.sft_adapter else {}
    server = own_server.start(settings.engine, compared.adapter, compared.base, ggufs, speaks, plan, more)

    def answer(name: str, asked: Sequence[list[Message]], advance: Callable[[int], None]) -> list[tuple[str, bool]]:
        found = []
        for one in many.answer_all(server, [Asked(name, messages) for messages in asked], advance):
            if isinstance(one, Refusal):
                raise UserError(f"{settings.engine} does not answer a prompt: {one}")
            found.append((one.text, one.ended))
        return found

    try:
        yield answer
    finally:
        server.stop()
