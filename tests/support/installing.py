"""Installing packages by uv with pip's configuration: an environment with torch takes seconds instead of a minute."""

import json
import os
import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).with_name("uv")
# Settings of pip that concern the source of packages, and the corresponding environment variables of uv.
_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
}


def settings() -> dict[str, str]:
    """Return pip's configuration as environment variables of uv, which does not read it."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    # Like pip, use the best version of all indexes, not the first index that has the package.
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for line in lines:
        name, _, value = line.partition("=")
        if uv := _SETTINGS.get(name.rpartition(".")[2]):
            found[uv] = json.loads(value.replace("'", '"')) if value[:1] == "'" else value
    return found


def install(python: Path, *arguments: str | Path) -> None:
    """Run `uv pip install` with these arguments for an environment."""
    command = [UV, "pip", "install", "--quiet", "--python", python, *arguments]
    subprocess.run(command, check=True, env=os.environ | settings())
