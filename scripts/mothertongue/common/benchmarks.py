"""Reading Snakemake's benchmark files: one line of JSON per run of a job."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The end of a file beside a benchmark, with what a job asked of an endpoint.
RECORD_OF_ENDPOINT = ".endpoint.json"


def read_rows(path: Path) -> list[Mapping[str, Any]]:
    """Return the rows of a benchmark; none where the file is missing, or incomplete after a killed job."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)]


def number(row: Mapping[str, Any], key: str) -> float | None:
    """Return a measured value; None where it is missing (Snakemake writes `-` or NaN)."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
