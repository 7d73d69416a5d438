"""The library modules that a script imports, directly or not: the inputs of its rule whose change alters the output.

A module x.py that renders a template has it beside it, as x.md.jinja: where the module is an input, both are.
"""

import functools
import re
from pathlib import Path

_PACKAGE = "mothertongue"
# `import mothertongue.a.b`, `from mothertongue.a import b`, and the same over several lines in parentheses.
_IMPORT = re.compile(
    rf"^[ \t]*(?:import ({_PACKAGE}[.\w]*)|from ({_PACKAGE}[.\w]*) import (?:\(([^)]*)\)|([^(\n]+)))", re.MULTILINE
)
_NAME = re.compile(r"(\w+)(?: as \w+)?\s*(?:,|$)")


@functools.cache
def modules(entry: str, scripts: Path = Path("scripts"), without: tuple[str, ...] = ()) -> list[str]:
    """Return the sorted paths of an entry's imported modules, with their packages' `__init__.py` and their templates.

    `entry` is a file below `scripts` without its suffix; a module of the library counts among its own imports. Packages
    and modules whose names are in `without` are left out, with everything that only they import.
    """
    path = scripts / f"{entry}.py"
    reached: set[Path] = set()
    waiting = [*_packages(path, scripts), path] if entry.startswith(f"{_PACKAGE}/") else list(_imports(path, scripts))
    while waiting:
        module = waiting.pop()
        if module not in reached and not {module.parent.name, module.stem} & {*without}:
            reached.add(module)
            waiting += _imports(module, scripts)
    templates = (module.with_suffix(".md.jinja") for module in reached)
    return sorted(map(str, [*reached, *filter(Path.is_file, templates)]))


@functools.cache
def _imports(path: Path, scripts: Path) -> frozenset[Path]:
    """Return the files that Python runs for a file's imports of the library."""
    found: set[Path] = set()
    for plain, package, lines, line in _IMPORT.findall(path.read_text(encoding="utf-8")):
        names = _NAME.findall(re.sub(r"#.*", "", lines or line))
        for module in [plain or package, *(f"{package}.{name}" for name in names if package)]:
            place = scripts / module.replace(".", "/")
            file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            # Other names are attributes of the package that they are imported from.
            if file.is_file():
                found.update([file, *_packages(file, scripts)])
    return frozenset(found)


def _packages(path: Path, scripts: Path) -> list[Path]:
    """Return the `__init__.py` of each package that contains a file of the library."""
    inside = [folder for folder in path.parents if folder.is_relative_to(scripts) and folder != scripts]
    return [folder / "__init__.py" for folder in inside]
