"""Tests of the project's conventions: use of Snakemake's internals, pinned versions, the content of the sample."""

import json
import re
from collections import Counter, defaultdict
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pins import MARK, OF_TORCH, UNCONSTRAINED, pins

from mothertongue.common import version

LIBRARY = Path("scripts/mothertongue")
SAMPLE = Path("config/demo/messages.jsonl")
RULES = "\n".join(path.read_text() for path in sorted(Path("rules").glob("*.smk")))


def test_only_one_module_refers_to_snakemake():
    for path in LIBRARY.rglob("*.py"):
        text = re.sub(r'""".*?"""|#.*', "", path.read_text(), flags=re.DOTALL)
        if path.stem != "snakemake_internals":
            assert "snakemake" not in text.replace("snakemake_internals", "").replace("built first with snakemake", "")


def test_environments_and_requirements_pin_the_same_versions():
    constraints = pins(Path("constraints.txt").read_text())
    for path in [*Path().glob("requirements*.txt"), *Path("envs").glob("*.yaml")]:
        text, own = path.read_text(), path.stem in UNCONSTRAINED
        for name, pin in pins(text.partition(MARK)[0] if own else text).items():
            assert constraints.get(name, pin if own else None) == pin, f"{path}: {name}"
    for path in Path("envs").glob("*.yaml"):
        (pip,) = [item["pip"] for item in yaml.safe_load(path.read_text())["dependencies"] if isinstance(item, dict)]
        assert all("==" in item for item in pip), path


def needs(direct):
    """Return the dependencies of packages, as far as they are installed, and whether all of them are installed."""
    reached, waiting, whole = set(), [(name, "") for name in direct], True
    while waiting:
        name, extra = waiting.pop()
        try:
            required = [Requirement(text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            whole = False
            continue
        for requirement in required:
            key = canonicalize_name(requirement.name)
            wanted = not requirement.marker or requirement.marker.evaluate({"extra": extra})
            for new in [(key, ""), *((key, more) for more in requirement.extras)] if wanted else []:
                if new not in reached:
                    reached.add(new)
                    waiting.append(new)
    return {name for name, _ in reached} - set(direct), whole


@pytest.mark.parametrize("path", sorted(Path("envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_pins_all_dependencies_of_its_packages(path):
    text = path.read_text()
    content = yaml.safe_load(text)
    assert content["channels"] == ["conda-forge", "nodefaults"] and "python=3.11.7" in content["dependencies"]
    own, mark, others = text.partition(MARK)
    found, whole = needs(pins(own))
    found = {name for name in found if not OF_TORCH.match(name)}
    pinned = set(pins(others))
    assert mark and found <= pinned, f"{path}: `make pins` adds {sorted(found - pinned)}"
    assert pinned == found or not whole, f"{path}: `make pins` takes away {sorted(pinned - found)}"


def test_the_version_is_one_and_in_what_is_made():
    stated = Path("VERSION").read_text().strip()
    assert version.version() == stated == str(yaml.safe_load(Path("CITATION.cff").read_text())["version"])
    templates = ("adapter", "dataset", "merged_model", "preferences", "threads")
    for path in [*(LIBRARY / f"cards/{name}.md.jinja" for name in templates), Path("report/page.html")]:
        assert "Mothertongue {{ version }}" in path.read_text(), path


def test_the_sample_contains_every_awkward_case():
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").split("\n")[:-1]]
    by_id = {row["message_id"]: row for row in rows}
    children = defaultdict(list)
    for row in rows:
        children[row["parent_id"]].append(row)
    texts = "\n".join(row["text"] for row in rows)
    assert len(rows) >= 300 and len({row["message_tree_id"] for row in rows}) >= 60
    assert len({row["message_tree_id"] for row in rows if row["lang"] == "pt-BR"}) >= 10
    languages = Counter(row["lang"] for row in rows)
    assert languages.most_common(1)[0][0] == "en" and languages["es"] and languages["de"]
    assert sum(row["deleted"] for row in rows) >= 3
    assert {True, False, None} == {row["review_result"] for row in rows}
    groups = [[row["rank"] for row in group] for parent, group in children.items() if parent and len(group) > 1]
    assert any(set(ranks) == {None} for ranks in groups)
    assert any(None in ranks and len(set(ranks)) > 1 for ranks in groups)
    assert any(None not in ranks and 0 not in ranks for ranks in groups)
    assert (
        sum(
            row["role"] == "prompter" and row["parent_id"] is not None and not children[row["message_id"]]
            for row in rows
        )
        >= 3
    )
    assert any(row["parent_id"] and row["parent_id"] not in by_id for row in rows)
    for wanted in (
        "[INST]",
        "</s>",
        "```python",
        "~~~",
        "|---",
        "$$",
        "\\begin{align}",
        "\n\n\n",
        "\r\n",
        "https://",
        "- [ ]",
    ):
        assert wanted in texts, wanted
    assert any(row["text"] == "" for row in rows) and any(row["text"].isspace() for row in rows)
    code = [row["text"].strip() for row in rows if row["text"].strip().startswith("```")]
    assert any(text.count("```") == 2 and text.endswith("```") for text in code)
    assert any(row["text"].strip() and re.fullmatch(r"\W+", row["text"]) for row in rows)


def test_rules_pass_option_values_with_an_equals_sign():
    """`--option value` fails for values such as -x.jsonl; only lists of files that the workflow makes are passed so."""
    for option, named in re.findall(r"(--[a-z][a-z-]*) \{(\w+)", RULES):
        assert named == "input", f"{option} {{{named}: write {option}={{{named}"
