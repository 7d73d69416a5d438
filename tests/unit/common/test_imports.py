"""Tests of the dependency finder: the library modules of a script, for every form of import statement."""

import re
from pathlib import Path

import pytest

from mothertongue.common.imports import modules

FILES = {
    "step.py": """\"\"\"Not from mothertongue import unused.\"\"\"
from mothertongue import (
    first,  # from mothertongue import unused
    second as other,
)
from mothertongue.rooms.third import CONSTANT, value


def later():
    import mothertongue.rooms.fourth
    from mothertongue.rooms import fifth as number, sixth
""",
    "mothertongue/first.py": "from mothertongue import second",
    "mothertongue/second.py": "from mothertongue import first",
    "mothertongue/unused.py": "",
    "mothertongue/rooms/third.py": "import os",
    "mothertongue/rooms/fourth.py": "from mothertongue.rooms import WORD",
    "mothertongue/rooms/fifth.py": "",
    "mothertongue/rooms/fifth.md.jinja": "{# from mothertongue import unused #}",
    "mothertongue/rooms/unused.md.jinja": "",
    "mothertongue/rooms/sixth.py": "    from mothertongue.deep.inner.seventh import name",
    "mothertongue/deep/inner/seventh.py": "",
}


@pytest.fixture
def scripts(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for folder in ("", "rooms", "deep", "deep/inner"):
        (tmp_path / "mothertongue" / folder / "__init__.py").write_text("")
    return tmp_path


def test_every_form_of_import_is_found_with_its_packages(scripts):
    found = {path.removeprefix(f"{scripts}/mothertongue/") for path in modules("step", scripts)}
    rooms = {f"rooms/{name}.py" for name in ("__init__", "third", "fourth", "fifth", "sixth")}
    rooms.add("rooms/fifth.md.jinja")
    deep = {"deep/__init__.py", "deep/inner/__init__.py", "deep/inner/seventh.py"}
    assert found == {"__init__.py", "first.py", "second.py"} | rooms | deep


def test_excluded_modules_are_left_out_with_their_exclusive_imports(scripts):
    found = {
        path.removeprefix(f"{scripts}/mothertongue/") for path in modules("step", scripts, without=("rooms", "second"))
    }
    assert found == {"__init__.py", "first.py"}


def test_a_library_module_is_among_its_own_dependencies(scripts):
    found = [path.removeprefix(f"{scripts}/mothertongue/") for path in modules("mothertongue/rooms/fifth", scripts)]
    assert found == ["__init__.py", "rooms/__init__.py", "rooms/fifth.md.jinja", "rooms/fifth.py"]


def test_a_card_depends_on_its_template_and_the_templates_it_includes():
    needed = set(modules("tune"))
    for name in ("adapter", "evaluation", "stated_licences"):
        assert {f"scripts/mothertongue/cards/{name}{suffix}" for suffix in (".py", ".md.jinja")} <= needed
    assert "scripts/mothertongue/cards/dataset.md.jinja" not in needed


@pytest.mark.parametrize("template", sorted(Path("scripts").rglob("*.md.jinja")), ids=lambda path: path.name)
def test_a_template_is_beside_its_module_which_imports_the_modules_of_included_templates(template):
    """Otherwise Snakemake would not rerun every rule whose card an edit of the template changes."""
    module = template.parent / template.name.replace(".md.jinja", ".py")
    assert module.is_file()
    needed = set(modules(str(module.relative_to("scripts").with_suffix(""))))
    names = re.findall(r'{%-? *(?:include|import|from|extends) "([^"]+)"', template.read_text())
    assert {str(template.parent / name) for name in names} <= needed
