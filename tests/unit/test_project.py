"""The house keeps its own rules: what rules list, what scripts import, what environments pin, what the sample holds."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pins import MARK, pins

from mothertongue.translation import engines

LIBRARY = Path("scripts/mothertongue")
SAMPLE = Path("config/demo/messages.jsonl")
RULES = "\n".join(path.read_text() for path in sorted(Path("rules").glob("*.smk")))
EXPORTS = {
    "merge",
    "perplexity",
    "check_shapes",
    "calibrate",
    "calibrated_perplexity",
    "check_conversion",
    "convert_to_gguf",
    "quantize",
    "gguf_perplexity",
    "write_modelfile",
    "other_trainers",
    "export_card",
}
# Rules that load the engine of the configuration, which no import names.
WITH_ENGINE = {"fetch_translation_model", "pivot", "translate"}
# Rules whose results take hours, and what cannot change those: cards, plots, pages, what asks the hub.
HOURS = {"translate", "pivot", "tune", "merge", "calibrate"}
WORDING = ("cards", "settings")
CHANGES_NOTHING = re.compile(
    r"mothertongue/(cards|report|publication|workflow)/|/hub\.py|/fetch|plots?\.py|/(summary|sankey|terminal|settings)\.py"
)
ENGINES = {
    "firefox": "models: {es-en: null}",
    "opus-mt": "models: {en-pt: a/b, es-en: a/c}",
    "nllb": "allow_noncommercial: true",
    "llm": "allow_noncommercial: true",
}


@cache
def imports(path):
    """The library modules that a file imports, whether at its top or inside a function, and their packages."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mothertongue"):
            package = LIBRARY / "/".join(node.module.split(".")[1:])
            names = [package / alias.name for alias in node.names] + [package]
        elif isinstance(node, ast.Import):
            names = [
                LIBRARY / "/".join(a.name.split(".")[1:]) for a in node.names if a.name.startswith("mothertongue.")
            ]
        else:
            continue
        for name in names:
            packages = [folder / "__init__.py" for folder in (name, *name.parents) if folder.is_relative_to(LIBRARY)]
            found |= {file for file in (name.with_suffix(".py"), *packages) if file.is_file()}
    return found


def closure(path, without=()):
    reached, waiting = set(), [path]
    while waiting:
        for module in imports(waiting.pop()) - reached:
            if not {module.parent.name, module.stem} & {*without}:
                reached.add(module)
                waiting.append(module)
    templates = {module.with_suffix(".md.jinja") for module in reached}
    return {str(file) for file in reached | {template for template in templates if template.is_file()}}


def dry_run_inputs(engine):
    """The input files of every rule, as Snakemake itself resolves them for the demo with an engine."""
    from snakemake.api import SnakemakeApi  # noqa: F401  (fails here with a clear message where it is missing)

    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", "profiles/demo", "-n", "--forceall", "--nolock",
         "--config", f"translation={{engine: {engine}, {ENGINES[engine]}}}", "threads={prompt_format: auto}",
         "evaluation={harness: [a]}", "publication={namespace: me}",
         "--", "results/demo/pt/report.html", "results/demo/pt/preferences/train.jsonl", "results/demo/summary.html",
         "results/demo/pt/published/adapter.json",
         "results/demo/pt/export/README.md"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    inputs = defaultdict(set)
    rule = None
    for line in (done.stdout + done.stderr).splitlines():
        if match := re.match(r"\s*(?:local)?(?:rule|checkpoint) (\w+):", line):
            rule = match[1]
        elif match := re.match(r"\s+input: (.*)", line):
            inputs[rule] |= set(match[1].split(", "))
    return inputs


@pytest.mark.parametrize("engine", ENGINES)
def test_the_inputs_of_a_rule_are_its_script_and_the_modules_that_it_imports(engine):
    inputs = dry_run_inputs(engine)
    data = {"split", "translate", "combine", "threads", "preferences"}
    fetches = {"fetch", "fetch_translation_model", "fetch_chat_template", "fetch_base_model"}
    assert data | fetches | {"tune", "evaluate", "harness", "report", "summary", "publish"} | EXPORTS <= set(inputs)
    for rule, files in inputs.items():
        script = Path(f"scripts/{rule}.py")
        assert str(script) in files
        needed = closure(script, WORDING if rule in HOURS else [])
        if rule in WITH_ENGINE:
            for module in engines.modules(engine, fetched=rule == "fetch_translation_model"):
                needed |= closure(LIBRARY / f"{module}.py", WORDING if rule in HOURS else []) | {
                    str(LIBRARY / f"{module}.py")
                }
        assert {file for file in files if file.startswith(f"{LIBRARY}/")} == needed, rule
        assert rule not in HOURS or not [file for file in files if CHANGES_NOTHING.search(file)], rule


def test_what_is_known_of_snakemake_is_in_one_module():
    for path in LIBRARY.rglob("*.py"):
        text = re.sub(r'""".*?"""|#.*', "", path.read_text(), flags=re.DOTALL)
        if path.stem != "snakemake_internals":
            assert "snakemake" not in text.replace("snakemake_internals", "").replace("built first with snakemake", "")


def test_environments_and_requirements_pin_the_same_versions():
    constraints = pins(Path("constraints.txt").read_text())
    for path in [*Path().glob("requirements*.txt"), *Path("envs").glob("*.yaml")]:
        for name, version in pins(path.read_text()).items():
            assert constraints.get(name) == version, f"{path}: {name}"
    for path in Path("envs").glob("*.yaml"):
        (pip,) = [item["pip"] for item in yaml.safe_load(path.read_text())["dependencies"] if isinstance(item, dict)]
        assert all("==" in item for item in pip), path


def needs(direct):
    """The packages that some need, as far as they are installed here; and whether all are."""
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
def test_an_environment_pins_all_that_its_packages_need(path):
    text = path.read_text()
    content = yaml.safe_load(text)
    assert content["channels"] == ["conda-forge", "nodefaults"] and "python=3.11.7" in content["dependencies"]
    own, mark, others = text.partition(MARK)
    found, whole = needs(pins(own))
    pinned = set(pins(others))
    assert mark and found <= pinned, f"{path}: `make pins` adds {sorted(found - pinned)}"
    assert pinned == found or not whole, f"{path}: `make pins` takes away {sorted(pinned - found)}"


def test_the_sample_holds_every_awkward_case():
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


@pytest.mark.parametrize(
    "command", [["ruff", "check", "scripts", "tests"], ["ruff", "format", "--check", "scripts", "tests"],
                ["snakefmt", "--check", "Snakefile", "rules"], ["snakemake", "--lint"], ["lint-imports", "--no-cache"],
                ["mypy"]],
    ids=lambda c: " ".join(c[:2]),
)  # fmt: skip
def test_form(command):
    tools = Path(sys.executable).parent
    done = subprocess.run(
        [tools / command[0], *command[1:]],
        capture_output=True,
        text=True,
        env={"PATH": f"{tools}:/usr/bin:/bin", "HOME": "/tmp", "PYTHONPATH": "scripts"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_values_reach_scripts_whatever_they_look_like():
    """`--option value` fails for values such as -x.jsonl; only lists of files that the workflow makes stand so."""
    for option, named in re.findall(r"(--[a-z][a-z-]*) \{(\w+)", RULES):
        assert named == "input", f"{option} {{{named}: write {option}={{{named}"
