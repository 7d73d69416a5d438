"""The record of an endpoint's model, in the place of a fetched model's: its name, and the licence of what it writes."""

from pathlib import Path

from mothertongue.common.atomic_files import atomic_folder, write_json
from mothertongue.common.errors import UserError
from mothertongue.endpoints.settings import EndpointModel
from mothertongue.model_folders.contents import RECORD

KIND = "endpoint"


def describe(model: EndpointModel, folder: Path) -> None:
    """Write the folder with the record. Raise UserError where the model has no name."""
    if not model.name:
        raise UserError("endpoint.model is missing: what the server calls the model")
    record = {"reference": model.name, "kind": KIND, "revision": KIND, "licence": model.licence}
    with atomic_folder(folder) as partial:
        write_json(partial / RECORD, record)
