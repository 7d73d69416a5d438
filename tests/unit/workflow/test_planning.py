"""Tests of the plan: jobs from a dry run, times from benchmarks or limits, totals for the available GPUs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mothertongue.common.errors import UserError
from mothertongue.common.tsv import read_table
from mothertongue.workflow import dry_run, planning
from mothertongue.workflow.dry_run import PlannedJob
from mothertongue.workflow.planning import Capacity, Measurement

RULES = dry_run.read_rules([Path("Snakefile"), *sorted(Path("rules").glob("*.smk"))])
CLUSTER = Capacity("slurm", gpus=8, jobs=100, cores=2)

# The output of Snakemake 9.27.1, without most of the library modules among the inputs.
DRY_RUN = """\
Building DAG of jobs...
Job stats:
job          count
---------  -------
split            1
translate        2
total            4


[Wed Nov 25 20:32:24 2026]
checkpoint split:
    input: scripts/split.py, results/source/messages.parquet
    output: results/source/shards/en/0.parquet, results/source/shards/nl/0.parquet, results/source/counts.json
    log: results/logs/source/shards.log
    jobid: 4
    benchmark: results/benchmarks/source/shards.jsonl
    reason: Missing output files: results/source/shards/en/0.parquet; Code has changed since last execution
    wildcards: results=results
    resources: tmpdir=/tmp, disk_mb=200, disk=200 MB, disk_mib=191, mem_mb=4000, mem=4 GB, mem_mib=3815, slurm_account=, slurm_partition=, runtime=15
Shell command:
        python scripts/split.py \\
            --messages results/source/messages.parquet

[Wed Nov 25 20:32:24 2026]
rule translate:
    input: scripts/translate.py, results/source/shards/en/0.parquet, results/models/translation/Helsinki-NLP--opus-mt-en-nl
    output: results/nl/translated/en/0.parquet
    log: results/logs/nl/translated/en/0.log
    jobid: 12
    benchmark: results/benchmarks/nl/translated/en/0.jsonl
    reason: Missing output files: results/nl/translated/en/0.parquet
    wildcards: results=results, lang=nl, source=en, shard=0
    threads: 4
    resources: tmpdir=/tmp, disk_mb=50, disk=50 MB, disk_mib=48, mem_mb=3800, mem=3.8 GB, mem_mib=3624, slurm_account=, slurm_partition=, runtime=60, gpu=1
Shell command:
        python scripts/translate.py \\
            --prompt 'Translate this.
rule of_thumb:
    threads: 99
    resources: gpu=99'

[Wed Nov 25 20:32:24 2026] Group job shards (jobs in lexicogr. order):

    [Wed Nov 25 20:32:24 2026]
    rule translate:
        input: scripts/translate.py, <TBD>, results/source/shards/nl/0.parquet
        output: results/nl/translated/nl/0.parquet
        jobid: 13
        wildcards: results=results, lang=nl, source=nl, shard=0
        resources: tmpdir=<TBD>, disk_mb=<TBD>, mem_mb=3800, runtime=60, gpu=0
Job stats:
job          count
---------  -------
split            1
"""


def job(rule, inputs=(), outputs=(), gpus=0, minutes=60, threads=1, **wildcards):
    return PlannedJob(rule, tuple(inputs), tuple(outputs), wildcards, threads, 4000, gpus, minutes, 100)


def translating(count, gpus=1):
    """Return the jobs of a split, of shards translated in parallel, and of an adapter tuned on them."""
    shards = [f"shards/{number}" for number in range(count)]
    texts = [f"translated/{number}" for number in range(count)]
    return [
        job("tune", texts, ["adapter"], gpus=gpus, minutes=120, lang="nl"),
        *(job("translate", [s], [t], gpus=1, shard=s) for s, t in zip(shards, texts, strict=True)),
        job("split", ["messages"], shards, minutes=15),
    ]


def stage_hours(jobs, place, measurements=()):
    return [seconds / 3600 for seconds in planning.make(jobs, RULES, measurements, place).stages]


def test_the_jobs_of_a_dry_run_are_parsed():
    split, translate, native = dry_run.parse_jobs(DRY_RUN)
    assert split == PlannedJob(
        rule="split",
        inputs=("scripts/split.py", "results/source/messages.parquet"),
        outputs=(
            "results/source/shards/en/0.parquet",
            "results/source/shards/nl/0.parquet",
            "results/source/counts.json",
        ),
        wildcards={"results": "results"},
        threads=1,
        memory_mb=4000,
        gpus=0,
        minutes=15,
        disk_mb=200,
    )
    assert (translate.rule, translate.threads, translate.gpus, translate.minutes) == ("translate", 4, 1, 60)
    assert translate.wildcards == {"results": "results", "lang": "nl", "source": "en", "shard": "0"}
    assert (native.rule, native.threads, native.gpus, native.disk_mb) == ("translate", 1, 0, 0)
    assert dry_run.parse_jobs("Nothing to be done (all requested files are present and up to date).\n") == []


def test_jobs_that_wait_for_the_checkpoint_are_mentioned():
    jobs = dry_run.parse_jobs(DRY_RUN)
    assert "cut anew" in planning.table(planning.make(jobs, RULES, [], CLUSTER), ["t"])
    assert "cut anew" not in planning.table(planning.make(jobs[:2], RULES, [], CLUSTER), ["t"])


def test_local_rules_and_benchmarks_are_read_from_the_rules():
    assert {name for name, rule in RULES.items() if rule.local} == {
        "describe_endpoint", "fetch_served_model",
        "fetch", "split", "fetch_translation_model", "fetch_estimator", "fetch_chat_template", "fetch_base_model", "fetch_benchmarks", "combine", "threads", "mix",
        "review", "preferences", "report", "summary", "publish", "write_modelfile", "other_trainers", "llama_factory", "axolotl_dpo", "export_card", "check_shapes",
        "check_conversion",
    }  # fmt: skip
    assert {name for name, rule in RULES.items() if not rule.benchmark} == {
        "help", "unknown_language", "unknown_export",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "rule", "wildcards"),
    [
        ("source/messages", "fetch", {"origin": ""}),
        ("source/mine/messages", "fetch", {"origin": "mine/"}),
        ("source/shards", "split", {}),
        ("models/translation/a--b", "fetch_translation_model", {"model": "a--b"}),
        ("models/base/a--b", "fetch_base_model", {"model": "a--b"}),
        ("pivot/es/3", "pivot", {"origin": "", "source": "es", "shard": "3"}),
        ("zh-Hant/translated/en/0", "translate", {"lang": "zh-Hant", "origin": "", "source": "en", "shard": "0"}),
        ("nl/translated/mine/en/0", "translate", {"lang": "nl", "origin": "mine/", "source": "en", "shard": "0"}),
        ("nl/dataset", "combine", {"lang": "nl"}),
        ("nl/threads/train", "threads", {"lang": "nl", "split": "train"}),
        ("nl/preferences/train", "preferences", {"lang": "nl", "split": "train"}),
        ("nl/adapter", "tune", {"lang": "nl", "variant": "", "stage": ""}),
        ("nl/variants/x/sft/adapter", "tune", {"lang": "nl", "variant": "variants/x/", "stage": "sft/"}),
        ("nl/evaluation", "evaluate", {"lang": "nl", "variant": "", "stage": ""}),
        ("nl/published/threads", "publish", {"lang": "nl", "variant": "", "kind": "threads"}),
    ],
)
def test_benchmark_files_are_assigned_to_their_rules(tmp_path, path, rule, wildcards):
    results = tmp_path / "results" / "mine"
    file = results / "benchmarks" / f"{path}.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"cpu_time": 76.7, "h:m:s": "0:01:05", "max_rss": 1990.59375, "s": 65.1043}\n')
    (found,) = planning.read_measurements(results / "benchmarks", RULES)
    assert (found.rule, found.seconds) == (rule, 65.1043)
    assert found.wildcards == {"results": str(results), **wildcards}


def test_broken_and_missing_benchmarks_give_no_measurements(tmp_path):
    folder = tmp_path / "benchmarks" / "nl"
    assert planning.read_measurements(folder.parent, RULES) == []
    folder.mkdir(parents=True)
    for number, text in enumerate(['{"s": 1', '{"s": "-"}', '{"max_rss": 1}', "[]", "", '{"s": NaN}']):
        (folder / "adapter.jsonl").write_text(text)
        assert planning.read_measurements(folder.parent, RULES) == [], number


def test_times_come_from_the_most_similar_jobs_and_limits_last():
    def translated(seconds, **wildcards):
        return Measurement("translate", wildcards, seconds)

    shard = job("translate", lang="de", source="es", shard="1")
    assert planning.expected(shard, []) == (3600, "limit")
    assert planning.expected(shard, [], 60) == (60, "estimate")
    assert planning.expected(shard, [], 7200) == (3600, "estimate")
    assert planning.expected(shard, [Measurement("tune", {"lang": "de"}, 5)]) == (3600, "limit")
    # The same target from another source language, then the same source language into another target.
    measured = [translated(100, lang="de", source="en", shard="0"), translated(10, lang="nl", source="es", shard="0")]
    assert planning.expected(shard, measured[:1]) == (100, "measured")
    assert planning.expected(shard, measured) == (10, "measured")
    # The mean of the same shard for two other targets, then the earlier time of this very job.
    measured += [translated(20, lang="nl", source="es", shard="1"), translated(30, lang="fr", source="es", shard="1")]
    assert planning.expected(shard, measured) == (25, "measured")
    assert planning.expected(shard, [*measured, translated(7, lang="de", source="es", shard="1")]) == (7, "measured")
    tunes = [Measurement("tune", {"lang": lang}, seconds) for lang, seconds in (("nl", 50), ("fr", 70))]
    assert planning.expected(job("tune", lang="nl"), tunes) == (50, "measured")
    assert planning.expected(job("tune", lang="de"), tunes) == (60, "measured")


def test_wall_time_is_the_longest_job_or_the_work_divided_by_the_gpus():
    jobs = translating(16)
    assert planning.stages(jobs) == {"split": 0, "translate": 1, "tune": 2}
    assert stage_hours(jobs, CLUSTER) == [0.25, 2, 2]
    assert stage_hours(jobs, replace(CLUSTER, gpus=1)) == [0.25, 16, 2]
    assert stage_hours(jobs, replace(CLUSTER, gpus=100)) == [0.25, 1, 2]
    # At most four jobs may be in the queue.
    assert stage_hours(jobs, replace(CLUSTER, gpus=100, jobs=4)) == [0.25, 4, 2]
    plan = planning.make(jobs, RULES, [], CLUSTER)
    assert (plan.jobs, plan.seconds, plan.gpu_hours, plan.disk_mb) == (18, 4.25 * 3600, 18, 1800)


def test_fetching_shares_the_local_cores_and_overlaps_independent_jobs():
    fetching = [job("fetch_translation_model", outputs=[f"models/{number}"]) for number in range(6)]
    assert stage_hours(fetching, CLUSTER) == [3]
    assert stage_hours([*fetching, job("fetch", minutes=300)], CLUSTER) == [5.5]
    assert stage_hours([*fetching, job("pivot", gpus=1, minutes=300)], CLUSTER) == [5]


def test_a_single_machine_is_limited_by_its_cores_and_gpus():
    jobs = [job("translate", gpus=1, threads=4, shard=str(number)) for number in range(8)]
    assert stage_hours(jobs, Capacity(None, gpus=1, jobs=None, cores=16)) == [8]
    assert stage_hours(jobs, Capacity(None, gpus=8, jobs=None, cores=16)) == [2]
    without = planning.make(jobs, RULES, [], Capacity(None, gpus=0, jobs=None, cores=8))
    assert (without.stages, without.gpu_hours) == ([4 * 3600], 0)
    assert "no GPU" in planning.table(without, ["t"])


def test_a_job_that_needs_more_gpus_than_there_are_is_refused():
    jobs = translating(2, gpus=4)
    assert planning.make(jobs, RULES, [], replace(CLUSTER, gpus=4)).gpu_hours == 10
    with pytest.raises(UserError, match="tune asks for 4 GPUs a job, and --gpus says that 2"):
        planning.make(jobs, RULES, [], replace(CLUSTER, gpus=2))


def test_the_place_of_jobs_is_read_from_the_profile(tmp_path):
    slurm, local = (planning.read_profile(f"profiles/{name}", [Path()])[1] for name in ("slurm", "local"))
    assert planning.read_profile("slurm", [Path()]) == ("slurm", slurm)
    assert planning.place(slurm, 0, 64) == CLUSTER
    assert planning.place(slurm, 0, 64, gpus=32).gpus == 32
    assert planning.place(local, 2, 64) == Capacity(None, gpus=2, jobs=None, cores=64)
    assert planning.read_profile("nowhere", [Path(), tmp_path]) == ("nowhere", {})
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "config.yaml").write_text("executor: lsf")
    (tmp_path / "site" / "config.v9+.yaml").write_text("executor: slurm\njobs: unlimited\n")
    path, site = planning.read_profile("site", [Path(), tmp_path])
    assert path == str(tmp_path / "site")
    assert planning.place(site, 0, 4) == Capacity("slurm", gpus=8, jobs=None, cores=4)


def test_targets_are_in_the_configured_results_folder(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("results: /scratch/mine\n")
    assert planning.configured([], ["tuning={gpus: 4}"])["results"] == "results"
    assert planning.configured([mine], [])["results"] == "/scratch/mine"
    assert planning.configured([mine], ["results=elsewhere"])["results"] == "elsewhere"
    tuning = planning.configured([], ["tuning={gpus: 4}", "tuning={epochs: 1}"])["tuning"]
    assert (tuning["gpus"], tuning["epochs"], tuning["batch_size"]) == (4, 1, 4)
    with pytest.raises(UserError, match="--config tuning: not YAML"):
        planning.configured([], ["tuning={gpus: "])
    assert planning.target("nl", "elsewhere") == "elsewhere/nl/adapter"
    assert planning.target("results/nl/dataset", "elsewhere") == "results/nl/dataset"


def test_environments_of_conda_are_counted_where_jobs_have_their_own():
    assert planning.uses_conda({"software-deployment-method": "conda"}) and planning.uses_conda({"sdm": ["conda"]})
    assert not planning.uses_conda({"software-deployment-method": "env-modules"}) and not planning.uses_conda({})
    sizes = {row["environment"]: int(row["mb"]) for row in read_table(Path("config/environments.tsv"))}
    assert set(sizes) == {path.stem for path in Path("envs").glob("*.yaml")} and min(sizes.values()) > 250
    assert {rule.environment for rule in RULES.values()} - {""} <= set(sizes)
    found = planning.environments(
        dry_run.parse_jobs(DRY_RUN), RULES, {"translate": "generation", "pivot": "generation"}, sizes
    )
    assert found == {name: sizes[name] for name in ("data", "generation")}
    plan = replace(planning.make(dry_run.parse_jobs(DRY_RUN), RULES, [], CLUSTER), environments=found)
    assert "Conda's 2 environments take 6.4 GB more" in planning.table(plan, ["t"])
    assert planning.as_json(plan, ["t"], "slurm")["environments_mb"] == found


TABLE = """\
rule       jobs  where  threads  memory  GPUs  time a job            GPU-hours    disk
split         1  local        1    4 GB     0      15 min  limit             0  0.1 GB
translate    16  Slurm        1    4 GB     1   1 min 5 s  measured       0.29  1.6 GB
tune          1  Slurm        1    4 GB     1         2 h  limit             2  0.1 GB
total        18                                                            2.3  1.8 GB

18 jobs; at most 2.3 GPU-hours; 1.8 GB of disk
Done in at most 2 h 17 min with 8 GPUs at once; waiting in the queue and second tries not counted.
16 of 18 jobs have measured times.
A limit is what a job is allowed, and most take far less.
"""
ESTIMATES = """\
rule       jobs  where  threads  memory  GPUs  time a job            estimate  GPU-hours    disk
split         1  local        1    4 GB     0      15 min  limit                       0  0.1 GB
translate    16  Slurm        1    4 GB     1   1 min 5 s  measured     2 min       0.29  1.6 GB
tune          1  Slurm        1    4 GB     1         1 h  estimate                    1  0.1 GB
total        18                                                                      1.3  1.8 GB

18 jobs; about 1.3 GPU-hours; 1.8 GB of disk
Done in at most 1 h 17 min with 8 GPUs at once; waiting in the queue and second tries not counted.
16 of 18 jobs have measured times.
An estimate is scaled from figures of other machines: expect half to twice as much.
A limit is what a job is allowed, and most take far less.
"""


def test_the_table_distinguishes_measured_times_from_estimates_and_limits():
    jobs = translating(16)
    translated = Measurement("translate", {"shard": "shards/0"}, 65)
    assert planning.table(planning.make(jobs, RULES, [translated], CLUSTER), ["t"]) == TABLE.rstrip()
    limits = planning.table(planning.make(jobs, RULES, [], CLUSTER), ["t"])
    assert (
        "at most 18 GPU-hours" in limits
        and "Nothing is measured yet" in limits
        and " measured " not in limits.replace("is measured yet", "")
    )
    all_three = [translated, Measurement("split", {}, 2), Measurement("tune", {}, 3600)]
    measured = planning.table(planning.make(jobs, RULES, all_three, CLUSTER), ["t"])
    assert "about 1.3 GPU-hours" in measured and "Done in about 1 h 2 min" in measured and "limit" not in measured
    guesses = {"translate": 120, "tune": 3600}
    plan = planning.make(jobs, RULES, [translated], CLUSTER, lambda job: guesses.get(job.rule))
    assert planning.table(plan, ["t"]) == ESTIMATES.rstrip()
    assert planning.table(planning.make([], RULES, [], CLUSTER), ["results/nl/adapter"]) == (
        "Nothing is left to do: results/nl/adapter stands and is up to date."
    )


@pytest.mark.parametrize(
    ("output", "errors", "reason"),
    [
        ("Building DAG of jobs...\n", "Using profile slurm.\nerror: unknown target language 'zz'\n", "unknown target language 'zz'"),
        ("", "Using profile x.\nError: profile directory given (x), but no\n", "profile directory given (x), but no"),
        ("Host: vm\nBuilding DAG of jobs...\nMissingRuleException:\nNo rule to produce a/b\n", "Using profile x.\n",
         "MissingRuleException: No rule to produce a/b"),
        ("  File cli.py\nWorkflowError:\nConfig file must be given as JSON.\n",
         "Using profile slurm for setting default command line arguments.\n", "WorkflowError: Config file must be given as JSON."),
        ("", "Traceback:\n  File x\n\nValueError: no\n", "ValueError: no"),
        ("", "", "no reason was given"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failed_dry_run_is_found(output, errors, reason):
    assert dry_run.complaint(output, errors) == reason


def plan(*arguments):
    return subprocess.run([sys.executable, "scripts/plan.py", *arguments], capture_output=True, text=True)


@pytest.mark.costly
def test_the_program_plans_two_languages_without_access_to_the_cluster(tmp_path):
    file = tmp_path / "plan.json"
    values = [f"results={tmp_path}", "source={languages: [en, nl, es], shards: {en: 3, es: 4}}"]
    done = plan("nl", "de", "--gpus", "2", "--json", file, "--config", *values)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    found = json.loads(file.read_text())
    rules = {rule["rule"]: rule for rule in found["rules"]}
    assert list(rules)[-1] == "tune" and found["targets"] == [f"{tmp_path}/nl/adapter", f"{tmp_path}/de/adapter"]
    # Shared jobs occur once; each target has three English shards, four Spanish ones and a Dutch one.
    assert rules["fetch"]["jobs"] == rules["split"]["jobs"] == 1
    assert rules["translate"]["jobs"] == 2 * (3 + 4 + 1) and rules["tune"]["jobs"] == 2
    assert (rules["translate"]["where"], rules["combine"]["where"]) == ("Slurm", "local")
    # The threads are not reduced to the cores of this machine.
    assert (rules["translate"]["threads"], rules["tune"]["threads"]) == (4, 8)
    assert rules["tune"]["gpu_hours"] == 2 * 12 and found["measured_jobs"] == 0 and found["complete"]


@pytest.mark.costly
def test_the_program_reports_errors_in_one_line(tmp_path):
    for name, text in (("empty", "# nothing\n"), ("list", "- a\n")):
        (tmp_path / name).write_text(text)
    for arguments, reason in (
        (["zz"], "unknown target language 'zz'"),
        (["nl", "--configfile", tmp_path / "empty"], f"{tmp_path}/empty: keys with values are expected"),
        (["nl", "--configfile", tmp_path / "list"], f"{tmp_path}/list: keys with values are expected"),
        (["nl", "--config", "tuning"], "ValueError: Invalid config definition"),
    ):
        done = plan(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"plan.py: error: {reason}") and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.costly
def test_the_demos_plan_has_the_demos_values(tmp_path):
    file = tmp_path / "plan.json"
    done = plan("pt", "--profile", "profiles/demo", "--all", "--json", file, "--config", f"results={tmp_path}")
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert found["targets"] == [f"{tmp_path}/pt/adapter"]
    # Twenty short steps of a model of 135 million parameters, not two epochs of one of seven billion.
    (tune,) = [rule for rule in found["rules"] if rule["rule"] == "tune"]
    assert tune["estimated_seconds"] < 600
