"""What each job asks Slurm for: GPUs where it uses them, and their kind only there."""

import re
import sys
from pathlib import Path

import pytest
from running import Project, copy_project

from mothertongue.workflow import dry_run

RULES = dry_run.read_rules(sorted(Path("rules").glob("*.smk")))
TARGETS = [f"results/nl/{name}" for name in ("report.html", "export/README.md", "evaluation/harness.json")]
ON_GPU = {"translate", "pivot", "tune", "evaluate", "harness", "perplexity", "calibrate", "calibrated_perplexity"}
# The plugin's own words for each job of the graph, as it would hand them to sbatch.
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
    """OASST1 as configured, on a cluster; no Slurm is asked."""

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
        """The GPU options by rule and source language, of jobs that are submitted; all rules declare their GPUs."""
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


def test_the_kind_of_gpu_goes_with_gpus_alone(fresh):
    found = fresh.sbatch("--config", *CONFIG, "--default-resources", "gpu_model=a100", "slurm_account=''")
    assert {rule for rule, _ in found} >= ON_GPU | {"merge", "convert_to_gguf", "quantize", "gguf_perplexity"}
    for (rule, source), option in found.items():
        # What is in the target language is copied, and no model is asked.
        assert option == ("--gpus=a100:1" if rule in ON_GPU and source != "nl" else "-"), (rule, source)


def test_without_a_kind_only_their_number_is_asked_for(fresh):
    found = fresh.sbatch("--config", *CONFIG, "tuning={gpus: 2}")
    assert found["tune", ""] == "--gpus=2" and found["evaluate", ""] == found["translate", "en"] == "--gpus=1"
    assert found["merge", ""] == found["translate", "nl"] == "-"


def test_a_kind_for_one_rule_and_none_where_a_cpu_does_the_work(fresh):
    kinds = ["--default-resources", "gpu_model=a100", "--set-resources", "tune:gpu_model=h100"]
    assert fresh.sbatch("--config", *CONFIG, *kinds)["tune", ""] == "--gpus=h100:1"
    cpu = ["translation={models: {ca-nl: null}, device: cpu}", "tuning={gpus: 0, quantization: none}"]
    assert set(fresh.sbatch("--config", *CONFIG, *cpu, *kinds[:2]).values()) == {"-"}


def test_shards_that_share_a_job_ask_for_the_same(fresh):
    """A group of jobs of two kinds would be refused."""
    groups = ["--groups", "translate=shards", "pivot=shards", "--group-components", "shards=4"]
    found = fresh.sbatch("--config", *CONFIG, "--default-resources", "gpu_model=a100", *groups)
    assert found["translate", "nl"] == found["translate", "en"] == found["pivot", "ca"] == "--gpus=a100:1"
