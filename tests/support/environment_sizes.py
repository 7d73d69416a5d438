"""Write config/environments.tsv: the disk space of each environment of envs/, from the packages installed here.

Run it with the Python of a set-up for GPUs: PyTorch without CUDA is a tenth of that with it.
"""

import re
from importlib import metadata

from packaging.requirements import Requirement
from paths import ROOT
from pins import pins

# Python itself, with pip, as conda installs it.
_PYTHON = 250


def size_mb(names: set[str]) -> float:
    """Return the space of packages and of all that they need, as far as it is installed here."""
    waiting, seen, total = {*names}, set(), 0
    while waiting:
        name = waiting.pop()
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        total += sum(file.size or 0 for file in found.files or [])
        for text in found.requires or []:
            needed = Requirement(text)
            if not needed.marker or needed.marker.evaluate({"extra": ""}):
                waiting |= {re.sub(r"[-_.]+", "-", needed.name).lower()} - seen
                waiting |= {re.sub(r"[-_.]+", "-", one).lower() for one in _extras(needed)} - seen
    return total / 1e6


def _extras(needed: Requirement) -> list[str]:
    """Return the packages of a requirement's extras, such as those of cuda-toolkit[cublas]."""
    try:
        texts = metadata.requires(needed.name) or []
    except metadata.PackageNotFoundError:
        return []
    found = [Requirement(text) for text in texts]
    return [
        one.name for one in found if one.marker and any(one.marker.evaluate({"extra": name}) for name in needed.extras)
    ]


def main() -> None:
    lines = ["environment\tmb\n"]
    for path in sorted((ROOT / "envs").glob("*.yaml")):
        megabytes = _PYTHON + size_mb(set(pins(path.read_text(encoding="utf-8"))))
        lines.append(f"{path.stem}\t{round(megabytes, -1):.0f}\n")
    (ROOT / "config/environments.tsv").write_text("".join(lines))


if __name__ == "__main__":
    main()
