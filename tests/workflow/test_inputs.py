"""A rule's inputs are its script and the modules that it imports, and no more where its result takes hours."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from mothertongue.translation import engines, estimators

LIBRARY = Path("scripts/mothertongue")
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
    "llama_factory",
    "export_card",
}
# Rules that load the engine and the estimator of the configuration, which no import names.
WITH_ENGINE = {"fetch_translation_model", "pivot", "translate"}
# Rules whose results take hours, and what cannot change those: cards, plots, pages, what asks the hub.
HOURS = {"translate", "pivot", "tune", "merge", "calibrate"}
FETCHES = {"fetch", "fetch_translation_model", "fetch_chat_template", "fetch_base_model", "fetch_benchmarks",
    "describe_endpoint"}  # fmt: skip
CHANGE_NO_RESULT = ("cards", "hub", "settings", "inspection")
CHANGES_NOTHING = re.compile(
    r"mothertongue/(cards|report|publication|workflow)/|/hub\.py|/fetch|plots?\.py|/(summary|sankey|terminal|settings)\.py"
)
# The estimator of meaning in the demo's configuration.
MEANING = "use"
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
         "judge={endpoint: {model: a, url: 'http://localhost:9/v1'}}",
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
    assert data | FETCHES | {"tune", "evaluate", "harness", "judge", "report", "summary", "publish"} | EXPORTS <= set(
        inputs
    )
    for rule, files in inputs.items():
        script = Path(f"scripts/{rule}.py")
        assert str(script) in files
        needed = closure(script, CHANGE_NO_RESULT if rule in HOURS | FETCHES else [])
        if rule in WITH_ENGINE:
            fetched = rule == "fetch_translation_model"
            judge = [estimators.module(MEANING)] if rule == "translate" else []
            for module in [*engines.modules(engine, fetched=fetched), *judge]:
                needed |= closure(LIBRARY / f"{module}.py", CHANGE_NO_RESULT if rule in HOURS | FETCHES else []) | {
                    str(LIBRARY / f"{module}.py")
                }
        assert {file for file in files if file.startswith(f"{LIBRARY}/")} == needed, rule
        assert rule not in HOURS or not [file for file in files if CHANGES_NOTHING.search(file)], rule
