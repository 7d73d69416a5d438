"""Print the cost of a build before anything runs: jobs by rule, their resources, GPU-hours, wall time, disk.

    scripts/plan.py nl
    scripts/plan.py nl de fr --gpus 32 --config 'translation={engine: nllb, allow_noncommercial: true}'
    scripts/plan.py results/demo/pt/adapter --profile profiles/demo
    scripts/plan.py nl --all
    cd ~/my-run && python ~/mothertongue/scripts/plan.py nl    the run of another folder

The plan has only remaining jobs: outputs that are up to date are not in it. With --all it has every job, so that after
a run the estimates stand beside what was measured. Each time is either "measured", from the benchmarks of earlier runs
in the same results folder (preferably of the same shard or source language); an "estimate" of translation and tuning,
scaled from the figures in docs/performance.md by the data's size, the model's and the GPU's peak (config/gpus.tsv); or
the "limit" that the rule declares. Wall time: the rules in the order of the data flow, each step as long as its longest
job, or as its jobs' summed times divided among the GPUs, jobs and cores that can work at once.

Network, Slurm and conda are not needed.
"""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from mothertongue.common import gpus
from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import UserError, run
from mothertongue.common.tsv import read_table
from mothertongue.workflow import dry_run, estimates, planning
from mothertongue.workflow.judging import Judging
from mothertongue.workflow.places import Places, home_of
from mothertongue.workflow.sources import Sources
from mothertongue.workflow.teachers import Teacher
from mothertongue.workflow.translations import Translations

HOME = Path(__file__).resolve().parent.parent
PLACES = Places(home_of(HOME, Path.cwd()))
# Where Snakemake looks for a profile by its name, then the workflow's own.
PROFILES = [Path(), Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / "snakemake"]
PROFILES += [Path("/etc/xdg/snakemake"), HOME, HOME / "profiles"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "targets",
        nargs="+",
        help="codes of target languages, such as nl, for their adapters, or full targets, such as results/nl/adapter; "
        "they come before the options",
    )
    parser.add_argument("--profile", default="slurm", help="Snakemake profile, as for snakemake (default: %(default)s)")
    parser.add_argument(
        "--configfile", nargs="+", default=[], help="YAML files laid over config/config.yaml, as for snakemake"
    )
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="values, as for snakemake")
    parser.add_argument(
        "--gpus",
        type=int,
        help="GPUs that can be had at once, for the wall time (default: 8 on a cluster, a node's worth, since how many "
        "are free only the queue knows; on one machine those that it has)",
    )
    parser.add_argument(
        "--gpu",
        metavar="KIND",
        help="kind of GPU for the estimates, such as a100 (default: gpu_model of the profile, or this machine's)",
    )
    parser.add_argument("--all", action="store_true", help="plan every job, also those that are done")
    parser.add_argument("--json", type=Path, help="write the plan to this file, too")
    arguments = parser.parse_args()
    if arguments.gpus is not None and arguments.gpus < 1:
        parser.error("--gpus: at least 1")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    arguments.profile, profile = planning.read_profile(arguments.profile, PROFILES)
    # The demo's profile brings a Snakefile that lays its values over the defaults.
    arguments.own_snakefile = "snakefile" in profile
    names = ["config/config.yaml", *(["config/demo.yaml"] if arguments.own_snakefile else [])]
    files = [Path(PLACES.found(name)) for name in names]
    config = planning.configured([*files, *map(Path, arguments.configfile)], arguments.config)
    targets = [planning.target(name, str(config["results"])) for name in arguments.targets]
    place = planning.place(profile, len(gpus.visible()), os.cpu_count() or 1, arguments.gpus)
    jobs = dry_run.parse_jobs(ask_snakemake(arguments, targets, place))
    rules = dry_run.read_rules(sorted((HOME / "rules").glob("*.smk")), not config["fetch_in_jobs"])
    folders = {Path(job.wildcards["results"], "benchmarks") for job in jobs}
    measurements = [measured for folder in folders for measured in planning.read_measurements(folder, rules)]
    estimator = make_estimator(config, arguments.gpu, place)
    plan = planning.make(jobs, rules, measurements, place, estimator.seconds)
    if planning.uses_conda(profile):
        sizes = {row["environment"]: int(row["mb"]) for row in read_table(PLACES.table("environments.tsv"))}
        translations = Translations(config, PLACES)
        computed = dict.fromkeys(("pivot", "translate"), translations.environment)
        computed["answer"] = Teacher(config, Sources(config), translations).environment
        computed["judge"] = Judging(config, str(config["results"])).environment
        plan = replace(plan, environments=planning.environments(jobs, rules, computed, sizes))
    prices = {group: config[group]["endpoint"] for group in ("translation", "teacher", "judge")}
    asked = {group: spent for group, spent in estimator.endpoints(jobs).items() if spent.requests}
    plan = replace(
        plan,
        endpoints={
            group: (spent, spent.cost(prices[group]["price_input"], prices[group]["price_output"]))
            for group, spent in asked.items()
        },
    )
    print(planning.table(plan, targets))
    if arguments.json:
        write_json(arguments.json, planning.as_json(plan, targets, arguments.profile))


def make_estimator(config: dict[str, Any], gpu: str | None, place: planning.Capacity) -> estimates.Estimator:
    """Return the estimator for a configuration and place. Raise UserError for an unknown kind of GPU."""
    peaks = {row["gpu"]: float(row["tflops"]) for row in read_table(PLACES.table("gpus.tsv"))}
    own = gpus.query("name") if place.gpus and not place.cluster else []
    kind = estimates.kind(gpu or next(iter(own), ""), peaks)
    if gpu and not kind:
        raise UserError(f"--gpu {gpu}: not in config/gpus.tsv, which has {', '.join(peaks)}; add a line to it")
    folder = Path(str(config["results"]), "source")
    oasst1 = {row["language"]: int(row["messages"]) for row in read_table(PLACES.table("oasst1_messages.tsv"))}
    return estimates.Estimator(
        config, estimates.characters(config, folder, oasst1), peaks, kind, place.cluster is not None
    )


def ask_snakemake(arguments: argparse.Namespace, targets: list[str], place: planning.Capacity) -> str:
    """Return the output of a dry run of Snakemake. Raise UserError with the reason where it fails."""
    # The executor dryrun: Slurm's would wait for the jobs of an earlier run, and is not needed here.
    command = [sys.executable, "-m", "snakemake", *targets, "--profile", arguments.profile]
    command += [] if arguments.own_snakefile else ["--snakefile", str(HOME / "Snakefile")]
    command += ["--dry-run", "--nolock", "--executor", "dryrun"]
    if place.cluster:
        # A dry run limits a job's threads to the given cores, by default one.
        command += ["--cores", "10000"]
    if not shutil.which("conda"):
        # Without conda's environments, outputs that were built in one must not count as stale.
        command += ["--software-deployment-method", "env-modules"]
        command += ["--rerun-triggers", "code", "input", "mtime", "params"]
    command += ["--forceall"] if arguments.all else []
    command += ["--configfile", *arguments.configfile] if arguments.configfile else []
    command += ["--config", *arguments.config] if arguments.config else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(dry_run.complaint(done.stdout, done.stderr))
    return done.stdout


if __name__ == "__main__":
    run(main)
