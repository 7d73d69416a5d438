"""The record of a merged model (fetched.json): what it was made from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import folder_checksums
from mothertongue.common.errors import UserError
from mothertongue.model_folders.contents import RECORD
from mothertongue.models.record import base_name

# The keys that are read from an adapter's training.json.
NEEDED = (
    "lang", "system_prompt", "settings.method", "base_model.reference", "base_model.revision", "base_model.licence",
    "base_model.hub_id",
)  # fmt: skip


def check(record: Mapping[str, Any], merge_base: str) -> None:
    """Raise UserError where `merge_base` is dequantized for an adapter that was not trained in nf4."""
    quantization = record["settings"]["quantization"]
    if merge_base == "dequantized" and quantization != "nf4":
        raise UserError(
            f"export.merge_base is dequantized, and the adapter was trained with quantization {quantization}, not nf4;"
            " set it to full"
        )


def described(record: Mapping[str, Any], merge_base: str) -> str:
    """Return a short description of the merged model."""
    base = record["base_model"]
    return f"{base_name(base)}@{base['revision']} ({merge_base}) with the {record['lang']} adapter"


def write_record(
    folder: Path, record: Mapping[str, Any], base: Mapping[str, Any], merge_base: str, form: str | None = None
) -> None:
    """Write `fetched.json` for the files that are in the folder now, in the format of a fetched model's."""
    content = {
        "reference": f"{base_name(record['base_model'])} with the {record['lang']} adapter",
        "kind": form or "merged",
        "revision": base["revision"],
        "licence": base["licence"],
        "merge_base": merge_base,
        "files": folder_checksums(folder),
    }
    (folder / RECORD).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
