"""Tests of the GPU options of Slurm jobs: only jobs that use a GPU request one, and with it the GPU model."""

import re
import sys
from pathlib import Path

import pytest
from running import Project, copy_project

from mothertongue.workflow import dry_run

RULES = dry_run.read_rules(sorted(Path("rules").glob("*.smk")))
TARGETS = [f"results/nl/{name}" for name in ("report.html", "export/README.md", "evaluation/harness.json")]
ON_GPU = {"translate", "pivot", "tune", "evaluate", "harness", "perplexity", "calibrate", "calibrated_perplexity"}
# Prints the GPU option that the Slurm plugin would pass to sbatch, for each job of the graph.
LISTING = """
include: "Snakefile"


onstart:
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    for job in workflow.dag.jobs:
        shard = job.wildcards.get("source", "")
        print("SBATCH", job.rule.name, shard, job.resources.get("gpu"), set_gres_string(job).strip() or "-")
    sys.exit("listed")
"""


class Fresh(Project):
    """A project with the default configuration and the Slurm profile; Slurm itself is not used."""

    def command(self, *arguments):
        options = [
            "--profile",
            "profiles/slurm",
            "--executor=local",
            "--cores=1000",
            "--nolock",
            "--snakefile=listing.smk",
        ]
        return [sys.executable, "-m", "snakemake", *options, "--sdm=env-modules", *arguments]

    def sbatch(self, *arguments):
        """Return the GPU options of submitted jobs by rule and source language; check that rules declare GPUs."""
        run = self.run(*TARGETS, *arguments)
        assert "listed" in run.output, run
        rows = re.findall(r"^SBATCH (\w+) (\w*) (\S+) (\S+)$", run.output, re.MULTILINE)
        assert {gpu for *_, gpu, _ in rows} <= {"0", "1", "2"}, "a rule declares no gpu"
        return {(rule, source): option for rule, source, _, option in rows if not RULES[rule].local}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    root = tmp_path_factory.mktemp("fresh")
    copy_project(root)
    (root / "listing.smk").write_text(LISTING)
    return Fresh(root)


CONFIG = ["source={languages: [en, ca, nl]}", "evaluation={harness: [a]}", "export={packed: [gptq]}"]
CONFIG += ["translation={models: {ca-nl: null}}"]


def test_the_gpu_model_is_requested_only_with_gpus(fresh):
    found = fresh.sbatch("--config", *CONFIG, "--default-resources", "gpu_model=a100", "slurm_account=''")
    assert {rule for rule, _ in found} >= ON_GPU | {"merge", "convert_to_gguf", "quantize", "gguf_perplexity"}
    for (rule, source), option in found.items():
        # Messages in the target language are copied, without a model.
        assert option == ("--gpus=a100:1" if rule in ON_GPU and source != "nl" else "-"), (rule, source)


def test_without_a_gpu_model_only_the_number_is_requested(fresh):
    found = fresh.sbatch("--config", *CONFIG, "tuning={gpus: 2}")
    assert found["tune", ""] == "--gpus=2" and found["evaluate", ""] == found["translate", "en"] == "--gpus=1"
    assert found["merge", ""] == found["translate", "nl"] == "-"


def test_the_gpu_model_can_be_set_per_rule_and_cpu_jobs_have_none(fresh):
    kinds = ["--default-resources", "gpu_model=a100", "--set-resources", "tune:gpu_model=h100"]
    assert fresh.sbatch("--config", *CONFIG, *kinds)["tune", ""] == "--gpus=h100:1"
    cpu = ["translation={models: {ca-nl: null}, device: cpu}", "tuning={gpus: 0, quantization: none}"]
    assert set(fresh.sbatch("--config", *CONFIG, *cpu, *kinds[:2]).values()) == {"-"}


def test_shards_that_share_a_job_request_the_same_gpus(fresh):
    """A group of jobs with different requests would be refused."""
    groups = ["--groups", "translate=shards", "pivot=shards", "--group-components", "shards=4"]
    found = fresh.sbatch("--config", *CONFIG, "--default-resources", "gpu_model=a100", *groups)
    assert found["translate", "nl"] == found["translate", "en"] == found["pivot", "ca"] == "--gpus=a100:1"
