"""A stand-in for `conda`, for tests without a conda client: it makes virtual environments from environment files.

Snakemake uses it like conda: one environment per rule, activated before the rule's command.
"""

import sys
from pathlib import Path

import installing

_CONDA = """#!{python}
import json, os, subprocess, sys
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent.parent
with open(FOLDER / "calls.log", "a") as log:
    print(*sys.argv[1:], file=log)
arguments = sys.argv[1:]
if arguments[:1] == ["--version"]:
    print("conda 25.1.0")
elif arguments[:1] == ["info"]:
    print(json.dumps({{"conda_prefix": str(FOLDER), "platform": "linux-64"}}))
elif arguments[:1] == ["config"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif arguments[:2] == ["env", "create"]:
    content = yaml.safe_load(Path(arguments[arguments.index("--file") + 1]).read_text())
    prefix = Path(arguments[arguments.index("--prefix") + 1])
    (pins,) = [item["pip"] for item in content["dependencies"] if isinstance(item, dict)]
    if {shared!r}:
        # One environment with everything for all, made in no time.
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin/activate").write_text('export PATH="{bin}:$PATH"\\n')
    else:
        subprocess.run(["{base}", "-m", "venv", prefix], check=True)
        command = ["{uv}", "pip", "install", "--quiet", "--python", prefix / "bin/python", *pins]
        subprocess.run(command, check=True, env=os.environ | {settings!r})
elif arguments[:1] != ["clean"]:
    sys.exit(f"conda: not known here: {{arguments}}")
"""


def install(folder: Path, shared: bool = False) -> Path:
    """Write the stand-in to a folder; return the folder for PATH. `shared`: environments are that of the tests."""
    values = {
        "python": sys.executable,
        "bin": Path(sys.executable).parent,
        "base": Path(sys.base_prefix) / "bin" / "python3",
        "shared": shared,
        "uv": installing.UV,
        "settings": {} if shared else installing.settings(),
    }
    programs = folder / "bin"
    programs.mkdir(parents=True)
    conda = programs / "conda"
    conda.write_text(_CONDA.format(**values))
    conda.chmod(0o755)
    (programs / "activate").write_text('source "$1/bin/activate"\n')
    return programs


def calls(folder: Path) -> list[str]:
    """Return the recorded calls of the stand-in."""
    return (folder / "calls.log").read_text().splitlines()
