"""The rows of the threads file: threads as messages, and as text in a chat template."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.dataset.trees import Message
from mothertongue.prompts.templates import Template, UnmaskableTemplate, render

Row = dict[str, Any]


def as_rows(threads: Iterable[list[Message]], lang: str, system_prompt: str, template: Template) -> Iterator[Row]:
    """Yield the rows of the file. A thread's id is that of its last message, which is unique to it.

    `system_prompt` begins every thread without a system message of its own, empty for none.

    Raise UserError, with the thread's id, where the template does not delimit the assistant's text exactly.
    """
    for thread in threads:
        messages: list[Row] = [message.turn | {"message_id": message.id} for message in thread]
        if system_prompt and thread[0].role != "system":
            messages.insert(0, {"role": "system", "content": system_prompt, "message_id": None})
        try:
            text = render(messages, template)
        except UnmaskableTemplate as error:
            raise UserError(f"thread {thread[-1].id}: {error}") from None
        yield {
            "thread_id": thread[-1].id,
            "message_tree_id": thread[0].tree,
            "lang": lang,
            "messages": messages,
            "text": text,
        }


def message_ids(row: Mapping[str, Any]) -> list[str]:
    """Return the ids of a thread's messages; the configured system prompt has none."""
    return [message["message_id"] for message in row["messages"] if message.get("message_id") is not None]


def are_native(threads: Iterable[Mapping[str, Any]], dataset: pa.Table) -> list[bool]:
    """Return for each thread whether all its messages are native in the dataset."""
    statuses = dict(zip(dataset["message_id"].to_pylist(), dataset["status"].to_pylist(), strict=True))
    return [all(statuses.get(id_) == "native" for id_ in message_ids(row)) for row in threads]
