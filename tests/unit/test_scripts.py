"""Tests of the scripts: every step can be run by hand, and `--help` explains how."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

SCRIPTS = sorted(Path("scripts").glob("*.py"))


def test_no_script_shadows_a_package():
    installed = set(metadata.packages_distributions()) | set(sys.stdlib_module_names)
    assert not installed & {path.stem for path in SCRIPTS}


@pytest.mark.costly
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_has_a_help_text(path):
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout and len(done.stdout) > 200
