"""The configuration, checked before anything runs, and what the rules of several stages share."""

import functools
import os
import re
import sys
from pathlib import Path

from mothertongue.common.errors import UserError, this_process
from mothertongue.common.languages import ENGLISH, find, read_languages
from mothertongue.common.settings import as_arguments
from mothertongue.dataset import correction_folder
from mothertongue.dataset.settings import ReviewSettings
from mothertongue.export.settings import CalibrationSettings
from mothertongue.translation import engines, routes
from mothertongue.workflow import configuration, slurm, snakemake_internals
from mothertongue.workflow.adapters import Adapters
from mothertongue.workflow.evaluations import Evaluations, built
from mothertongue.workflow.exports import PACKED, PATHS, QUANTIZATIONS, Exports
from mothertongue.workflow.judging import Judging
from mothertongue.workflow.repositories import Repositories
from mothertongue.workflow.rule_helpers import (
    SPLITS,
    CHANGE_NO_RESULT,
    chat_template_files,
    KINDS,
    check_folder_of,
    check_folders,
    check_on_disk,
    checked,
    checksum_of,
    double_on_retry,
    given,
    literal,
    local_model_files,
    usable,
)
from mothertongue.workflow.settings import defaults, schema as configuration_schema
from mothertongue.workflow.sources import Sources
from mothertongue.workflow.teachers import Teacher
from mothertongue.workflow.translations import Translations

os.environ |= {
    # Rules use the Python that runs Snakemake; --sdm conda puts a rule's own environment before it.
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", os.defpath)]),
    # No environment file lists the packages of a user's home folder.
    "PYTHONNOUSERSITE": "1",
    # Programs end with the Snakemake process that runs them: see scripts/mothertongue/common/errors.py.
    "MOTHERTONGUE_SNAKEMAKE": this_process(),
}
# Programs cannot prompt for input: stdin is empty. The hub's token is in the environment only of the rules that pass it
# on: HF_TOKEN=$hub_token.
PREPARE = "set -euo pipefail; exec </dev/null; hub_token=${{HF_TOKEN:-${{HUGGING_FACE_HUB_TOKEN-}}}}; "
if IS_MODULE:
    # The other workflow's rules have this before their commands, too: they keep the token, and their own prefix.
    shell.prefix(f"{snakemake_internals.shell_prefix(shell)}{PREPARE}")
else:
    shell.prefix(f"{PREPARE}unset HF_TOKEN HUGGING_FACE_HUB_TOKEN; ")
    # Only fetch rules may reach the hub; programs see to it themselves, too.
    os.environ |= {"HF_HUB_OFFLINE": "1"}

checked(usable, Path.cwd(), WORKFLOW_FOLDER)
SCHEMA, DEFAULTS = configuration_schema(), defaults()
# A module, and a configuration of one's own, may have only what differs.
config = configuration.lay_over(DEFAULTS, configuration.coerce(config, SCHEMA))
checked(configuration.check, config, SCHEMA)
config = places.resolved(config)
# What a module puts before all outputs, and the results folder on disk.
PREFIX = snakemake_internals.prefix(workflow)
checked(places.check_results, PREFIX, config["results"])
RESULTS = f"{PREFIX}{config['results']}"

LANGUAGES = read_languages(places.table("languages.tsv"))
checked(routes.check_languages, config, LANGUAGES)
sources = Sources(config)
for source in sources:
    checked(source.fetch_arguments)

translations = checked(Translations, config, places)
judging = checked(Judging, config, RESULTS)
teacher = checked(Teacher, config, sources, translations)
# The endpoints by the groups of the configuration.
endpoints = {one.group: one for one in [*translations.endpoints, *teacher.endpoints, *judging.endpoints]}
# Those whose model each job serves by itself, by the folder of the model; of one model, which states its licence.
served = {
    endpoint.slug: endpoint
    for endpoint in sorted(endpoints.values(), key=lambda endpoint: bool(endpoint.keys["licence"]))
    if endpoint.keys["serve"]
}
# Their keys, too, are only in the environment of the rules that pass them on: NAME=$key_NAME. Another workflow keeps its
# own, and may have this one several times.
for name in sorted({endpoint.key_variable for endpoint in endpoints.values()}):
    keep = "key_NAME=${NAME-${key_NAME-}}; ".replace("NAME", name)
    forget = "" if IS_MODULE else f"unset {name}; "
    shell.prefix(snakemake_internals.shell_prefix(shell) + keep.replace("{", "{{").replace("}", "}}") + forget)
adapters = checked(Adapters, config, places)
checked(check_folders, [*translations.owners, *adapters.owners])
evaluations = checked(Evaluations, config, places, adapters)
exports = Exports(config, adapters)
repositories = Repositories(config, adapters, sources)


wildcard_constraints:
    results=re.escape(config["results"]),
    lang="|".join(map(re.escape, LANGUAGES)),
    # The folder of one of several sources; empty where there is one.
    origin="|".join(re.escape(source.prefix) for source in sources) or "(?:)",
    source="[a-z]+(-[A-Z][a-z]+)?",
    shard=r"\d+",
    split="|".join(SPLITS),
    model="[^/]+",
    # The group of the configuration whose endpoint it is; empty where none has one.
    group="|".join(endpoints) or "(?:)",
    # The adapter's folder: empty, or a variant's; and within it the folder of the SFT adapter that DPO continues from.
    variant="(variants/[^/]+/)?",
    stage="(sft/)?",


# Whether data and models are fetched where Snakemake runs.
FETCH_HERE = not config["fetch_in_jobs"]
# Whether this is a job of a scheduler, which ends it at its time limit.
IN_JOB = not snakemake_internals.is_main_process(workflow) or "SLURM_JOB_ID" in os.environ
# The GPU model in the profile's default-resources: Slurm would allocate one to jobs that request no GPU.
GPU_MODEL = snakemake_internals.default_resource(workflow, "gpu_model")
# Whether every shard exists, and whether split is known to be up to date; once true.
known = {"shards": False, "split": False}


def gpu_model(gpus):
    """Return the GPU model of a job; empty without GPU. `gpus` returns their number from the wildcards."""
    return lambda wildcards: GPU_MODEL if gpus(wildcards) else ""


def users(paths):
    """Return a user's files as inputs, which no module and no storage provider moves."""
    return [local(path) for path in checked(usable, *paths)]


def language_name(wildcards):
    return LANGUAGES[wildcards.lang].name


def system_prompt(wildcards):
    """Return the configured system prompt, or the language's own; empty for none."""
    configured = config["threads"]["system_prompt"]
    return LANGUAGES[wildcards.lang].system_prompt if configured is None else configured


def system_prompt_of(lang):
    """Return a source language's own system prompt; empty where the configuration wants none."""
    return "" if config["threads"]["system_prompt"] == "" else LANGUAGES[lang].system_prompt


# The records of what was fetched of each source.
FETCHED = [f"{{results}}/source/{source.prefix}fetched.json" for source in sources]


def files_of_source(wildcards):
    """Return the local files of a source; none of a dataset on the hub."""
    return users(path for paths in sources.of(wildcards).files.values() for path in paths)


def after_split(wildcards):
    """Return no files: defer the decision whether a job is stale until split has run.

    Snakemake decides again only for jobs whose own inputs wait for the checkpoint; all others run although nothing that
    they read has changed. Where a shard is missing (a first run, a new source language) do not wait: Snakemake would
    not notice that split has to run, and would give waiting jobs another shard's file.
    """
    after_earlier_jobs()
    if SPLIT and not known["split"] and shards_exist():
        snakemake_internals.await_checkpoint(SPLIT, results=wildcards.results)
        known["split"] = True
    return []


def shards_exist():
    """Return whether every shard exists; cached once true, since it is called for hundreds of jobs."""
    shards = (f"{RESULTS}/source/shards/{name}.parquet" for name in sources.shard_names)
    known["shards"] = known["shards"] or all(map(os.path.exists, shards))
    return known["shards"]


def source_shard(wildcards):
    """Return one shard, which is compared by its checksum once split has run."""
    after_split(wildcards)
    return "{results}/source/shards/{origin}{source}/{shard}.parquet".format(**wildcards)


def translators(wildcards):
    """Return the folders of all models that translate into a language."""
    return translations.models_into(wildcards, sources.languages)


def prompts_kept_out(wildcards):
    """Return the prompts that training must not hold; an edit of them alone makes no training stale."""
    return [ancient(path) for path in evaluations.prompts_kept_out(wildcards)]


def teacher_of(wildcards):
    """Return the record of the model that answered in a language's data; empty where nothing was translated for it."""
    return teacher.models if translators(wildcards) else []


def corrections_of(wildcards):
    """Return the review sheets of a language that people filled in."""
    return users(checked(correction_folder.files, Path(found(f"config/corrections/{wildcards.lang}"))))


def votes_of(wildcards):
    """Return the votes of people on an adapter; empty where there are none."""
    return users(judging.votes(wildcards))


def glossary_of(wildcards):
    """Return the glossary of a language, which a job of pivot has of English; empty where there is none."""
    path = found(f"config/glossary/{getattr(wildcards, 'lang', ENGLISH)}.tsv")
    return [path] if planned_checksum(path) else []


@functools.cache
def planned_checksum(path):
    """Return the checksum that a user's file has when Snakemake first asks for it; empty where there is none."""
    return checked(checksum_of, Path(path))


def glossary_planned(wildcards):
    """Return the checksum of a job's glossary in a list, for params; empty where it has none.

    An edit while the job runs is older than its output, and Snakemake records the checksum of inputs when a job ends.
    """
    return [planned_checksum(path) for path in glossary_of(wildcards)]


def shard_to_translate(wildcards):
    """Return the shard in English where the route pivots through English, else the source shard."""
    if translations.route(wildcards).kind == "pivot":
        return "{results}/pivot/{origin}{source}/{shard}.parquet".format(**wildcards)
    return source_shard(wildcards)


def translation_gpus(wildcards):
    """Return the GPUs of a shard's job, 0 or 1."""
    grouped = bool(GPU_MODEL) and snakemake_internals.is_grouped(workflow, "pivot", "translate")
    return translations.gpus(wildcards, grouped)


def dataset_of_all_messages(wildcards):
    """Return the dataset. End Snakemake where there are no replies to compare, as the scope leaves them out."""
    checked(teacher.check_preferences)
    return "{results}/{lang}/dataset/{split}.parquet".format(**wildcards)


def summarised(wildcards):
    """Return the evaluations that exist, for the summary. End Snakemake where they are in a storage."""
    checked(check_on_disk, snakemake_internals.storage(workflow))
    return built(RESULTS, LANGUAGES)


def what_is_published(wildcards):
    """Return the files that are published; for an adapter also its evaluation."""
    repositories.check(wildcards, snakemake_internals.runs_jobs(workflow))
    harness = rules.harness.output if evaluations.tasks_of(wildcards.lang) else []
    judged = rules.judge.output if judging.endpoints else []
    produced = {
        "dataset": rules.combine.output,
        "threads": rules.threads.output,
        "preferences": rules.preferences.output,
        "adapter": [*rules.tune.output, *rules.evaluate.output, *harness, *judged],
    }
    splits = SPLITS if wildcards.kind in ("threads", "preferences") else ("",)
    # Snakemake puts a module's prefix before what functions return.
    paths = [path.removeprefix(PREFIX) for path in produced[wildcards.kind]]
    return [path.format(**wildcards, stage="", split=split) for path in paths for split in splits]
