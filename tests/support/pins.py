"""Pin all packages of envs/*.yaml and their dependencies to the versions of constraints.txt: `make pins`.

In an environment's file the packages that the workflow itself uses come first, written by hand; below the mark follow
their dependencies as resolved by pip, which queries the package index and installs nothing. CUDA packages that only
torch needs are not pinned: torch itself requires exact versions, on machines that use them. vLLM's environment has the
versions that vLLM wants.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from paths import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
MARK = "      # What these need, as tested; written by `make pins`.\n"
_PIN = re.compile(r"^\s*(?:- )?([A-Za-z][\w.-]*)==([\w.]+)", re.MULTILINE)
OF_TORCH = re.compile(r"nvidia-|cuda-|triton")
# The environments whose versions are their own.
UNCONSTRAINED = ("vllm",)


def pins(text: str) -> dict[str, str]:
    """Return the versions pinned in a requirements or environment file, by normalised name."""
    return {name.lower().replace("_", "-"): version for name, version in _PIN.findall(text)}


def needed(direct: dict[str, str], constraints: Path | None) -> dict[str, str]:
    """Return the versions of all dependencies that pip would install under the constraints, by normalised name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--report", report]
        command += ["-c", constraints] if constraints else []
        command += [f"{name}=={version}" for name, version in direct.items()]
        subprocess.run(command, check=True)
        found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    versions = {item["name"].lower().replace("_", "-"): item["version"].partition("+")[0] for item in found}
    return {name: versions[name] for name in sorted(versions) if name not in direct}


def main() -> None:
    constraints = pins(CONSTRAINTS.read_text())
    for path in [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "envs").glob("*.yaml")):
        text = path.read_text(encoding="utf-8").split(MARK)[0]
        own = path.stem in UNCONSTRAINED
        found = needed(pins(text), None if own else CONSTRAINTS)
        found = {name: found[name] for name in found if name in constraints or not OF_TORCH.match(name)}
        unknown = [f"{name}=={version}" for name, version in found.items() if name not in constraints]
        if unknown and not own:
            sys.exit(f"{path.name}: add the versions that are tested to constraints.txt: {', '.join(unknown)}")
        path.write_text(text + MARK + "".join(f"      - {name}=={version}\n" for name, version in found.items()))
        print(f"{path.name}: {len(found)} packages")


if __name__ == "__main__":
    main()
