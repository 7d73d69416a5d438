"""The client of an endpoint's model: on the configured server, or on one that the job starts with the fetched model."""

from pathlib import Path

from mothertongue.common.atomic_files import write_json
from mothertongue.common.progress import log
from mothertongue.endpoints.answers import Answers
from mothertongue.endpoints.client import Client
from mothertongue.endpoints.server import Served, Server
from mothertongue.endpoints.settings import EndpointSettings
from mothertongue.model_folders import contents
from mothertongue.models.record import identity, read_record


def connect(settings: EndpointSettings, model: Path, answers: Path | None, threads: int = 1) -> Client:
    """Return the client of the model that a folder records or has.

    `answers` is the file that keeps the answers; `threads` may be used by a server on the CPU. Raise UserError where
    the settings lack something, or the folder has code.
    """
    kept = Answers(answers)
    if not settings.endpoint_serve:
        return Client(settings, read_record(model)["reference"], kept)
    contents.check(model)
    served = Served(model, identity(model), threads)
    return Client(settings, served.name, kept, Server(settings, served, answers and answers.with_suffix(".server.log")))


def finish(client: Client, task: str, usage: Path | None) -> None:
    """Write the answers to the disk, end a server of the client's own, and tell what was spent in log and file."""
    client.close()
    if bill := client.bill:
        log(f"{task}: {bill}")
    if usage:
        write_json(usage, client.record())
