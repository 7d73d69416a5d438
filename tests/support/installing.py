"""Packages installed by uv with pip's configuration: seconds instead of a minute for an environment with torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).with_name("uv")
# The settings of pip that say where packages come from, and uv's names for them.
_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
}


def settings() -> dict[str, str]:
    """Return what pip is configured to do as environment variables of uv, which reads no configuration of pip's."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    # As pip has it: the best version of all indexes, not the first index that has any.
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for line in lines:
        name, _, value = line.partition("=")
        if uv := _SETTINGS.get(name.rpartition(".")[2]):
            found[uv] = json.loads(value.replace("'", '"')) if value[:1] == "'" else value
    return found


def install(python: Path, *arguments: str | Path) -> None:
    """Install into an environment what `uv pip install` is told."""
    command = [UV, "pip", "install", "--quiet", "--python", python, *arguments]
    subprocess.run(command, check=True, env=os.environ | settings())
