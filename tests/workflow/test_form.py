"""Tests of the code's form: linting, formatting, types, and the imports allowed between packages."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command", [["ruff", "check", "scripts", "tests"], ["ruff", "format", "--check", "scripts", "tests"],
                ["snakefmt", "--check", "Snakefile", "rules"], ["snakemake", "--lint"], ["lint-imports", "--no-cache"],
                ["mypy"]],
    ids=lambda c: " ".join(c[:2]),
)  # fmt: skip
def test_linters_and_type_checker_pass(command):
    tools = Path(sys.executable).parent
    done = subprocess.run(
        [tools / command[0], *command[1:]],
        capture_output=True,
        text=True,
        env={"PATH": f"{tools}:/usr/bin:/bin", "HOME": "/tmp", "PYTHONPATH": "scripts"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
