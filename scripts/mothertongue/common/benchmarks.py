"""What Snakemake measures of a job, in its benchmark file: a line of JSON a run."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[Mapping[str, Any]]:
    """Return the lines of a benchmark; a file that a killed job left half-written has none."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)]


def number(row: Mapping[str, Any], key: str) -> float | None:
    """Return what was measured; None where it was not (Snakemake writes `-` or NaN)."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
