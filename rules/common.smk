"""Validation of the configuration, and the helpers that give rules their paths and values."""

import functools
import json
import os
import re
import sys
from pathlib import Path

# At the end of the path: a script's name must not hide a package from Snakemake.
sys.path.append(str(Path("scripts").resolve()))

from mothertongue.common import licences, plain_text
from mothertongue.common.errors import UserError, this_process
from mothertongue.common.languages import ENGLISH, find, read_languages
from mothertongue.common.settings import as_arguments
from mothertongue.evaluation.settings import EvaluationSettings, QuantizationSettings
from mothertongue.export.settings import CalibrationSettings
from mothertongue.models import references
from mothertongue.publication import upload
from mothertongue.source import dataset_reference
from mothertongue.source.settings import LimitSettings
from mothertongue.translation import engines, routes
from mothertongue.translation.settings import EngineSettings, QualityLimits
from mothertongue.tuning.settings import DataSettings, TuningSettings
from mothertongue.workflow import configuration, slurm, snakemake_internals
from mothertongue.workflow.library import modules as imported_modules
from mothertongue.workflow.settings import schema as configuration_schema

os.environ |= {
    # Rules call the Python that runs Snakemake; --sdm conda puts a rule's own environment before it.
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", os.defpath)]),
    # Only fetch rules may reach the hub.
    "HF_HUB_OFFLINE": "1",
    # Packages of a user's home folder are in no environment file.
    "PYTHONNOUSERSITE": "1",
    # Programs end with the Snakemake that runs them, however it ends: see scripts/mothertongue/common/errors.py.
    "MOTHERTONGUE_SNAKEMAKE": this_process(),
}


# Nobody answers a question that a program asks, and no pipe does. The hub's token is in the environment only of the rules
# that hand it on: HF_TOKEN=$hub_token.
shell.prefix(
    "set -euo pipefail; exec </dev/null; "
    "hub_token=${{HF_TOKEN:-${{HUGGING_FACE_HUB_TOKEN-}}}}; unset HF_TOKEN HUGGING_FACE_HUB_TOKEN; "
)


def checked(check, *arguments):
    """The result of a check of what the user gave; an objection ends Snakemake with its one line."""
    try:
        return check(*arguments)
    except UserError as error:
        sys.exit(plain_text.one_line(f"error: {error}"))


def usable(*paths):
    """Paths of the user's that become inputs. Raises UserError for one that Snakemake would read as a pattern."""
    for path in paths:
        if re.search(r"[{}<>\n]", str(path)) or plain_text.visible(str(path)) != str(path):
            raise UserError(
                f"the path {str(path)!r}: Snakemake takes no {{}}, <> or control characters in it; rename it"
            )
    return list(paths)


def literal(value):
    """A value of `params` that holds text of the user's, in which Snakemake reads no braces as wildcards."""
    return lambda wildcards: value


checked(usable, str(Path.cwd()))
SCHEMA = configuration_schema()
DEFAULTS = configuration.read(Path("config/config.yaml"))
config |= configuration.coerce(config, SCHEMA)
checked(configuration.check, config, SCHEMA)

SPLITS = ("train", "validation")
LANGUAGES = read_languages(Path("config/languages.tsv"))
SHARDS = {language: config["source"]["shards"].get(language, 1) for language in config["source"]["languages"]}
SHARD_NAMES = [f"{language}/{shard}" for language, count in SHARDS.items() for shard in range(count)]


wildcard_constraints:
    results=re.escape(config["results"]),
    lang="|".join(map(re.escape, LANGUAGES)),
    source="[a-z]+(-[A-Z][a-z]+)?",
    shard=r"\d+",
    split="|".join(SPLITS),
    model="[^/]+",
    # The adapter's own folder: none, or one of the variants'; and within it that of the SFT adapter which DPO goes on from.
    variant="(variants/[^/]+/)?",
    stage="(sft/)?",


# What cannot change a result that takes hours: the card beside it, and how settings are declared, whose values are arguments.
WORDING = ("cards", "settings")


def library(script, *more, without=()):
    """The library modules whose change makes the output of a script stale: those that it imports, and `more` with theirs."""
    entries = [script, *(f"mothertongue/{module}" for module in more)]
    return sorted({module for entry in entries for module in imported_modules(entry, without=without)})


def translation_library(script):
    """The library modules by which a shard is translated: another shard's engines do not make it stale."""
    return lambda wildcards: library(
        script,
        *(module for engine in translation_engines(wildcards) for module in engines.modules(engine)),
        without=WORDING,
    )


# The settings of each adapter by its folder: the language's own, and the variants that lay their settings over it.
TUNING = {"": config["tuning"]} | {
    f"variants/{name}/": configuration.lay_over(config["tuning"], settings)
    for name, settings in config["variants"].items()
}
BASE_MODEL = config["tuning"]["base_model"]
BASE_MODEL_OWNERS = [("tuning", settings["base_model"]) for settings in TUNING.values()]

TRANSLATION = config["translation"]
SETTINGS = routes.engine_settings(TRANSLATION)
ENGINES = [settings["engine"] for settings in SETTINGS]
PAIRS, FALLBACK_PAIRS, *_ = [checked(routes.translation_pairs, settings, Path("config")) for settings in SETTINGS] + [
    {}
]
TRANSLATION_MEMORY = 3000 + 2 * sum(engines.find(engine).MODEL_MB for engine in ENGINES)
# The larger environment runs what the smaller one does.
TRANSLATION_ENVIRONMENT = min(engines.find(engine).ENVIRONMENT for engine in ENGINES)


def more_if_tried_again(amount):
    """Twice as much of a resource when a job is tried again: it may have had too little of it."""
    return lambda wildcards, attempt: amount * min(attempt, 2)


# The kind of GPU that the profile's default-resources name: Slurm would give one of it to jobs that ask for none.
GPU_MODEL = snakemake_internals.default_resource(workflow, "gpu_model")


def gpu_model(gpus):
    """The kind of GPU of a job; none where it has no GPU. `gpus` tells their number from the wildcards."""
    return lambda wildcards: GPU_MODEL if gpus(wildcards) else ""


@functools.cache
def model_folder(reference, kind):
    """Where fetch_translation_model, fetch_base_model or fetch_chat_template puts what it fetches of a model."""
    return f"{{results}}/models/{kind}/{references.parse(reference).slug}"


def local_model_files(reference):
    """The files of a model in a local folder or file, whose edit makes the fetched copy stale."""
    return checked(usable, *map(str, checked(references.local_files, references.parse(reference))))


def chat_template_files(reference):
    """The small files of a model in a local folder, whose edit makes its chat template stale; a file of its own is one."""
    return [path for path in local_model_files(reference) if not path.endswith((".safetensors", ".bin"))]


def check_models():
    """Refuse bad model references and licences before anything runs; two models never share a folder."""
    if TRANSLATION["device"] == "cuda" and not any(engines.find(engine).ON_GPU for engine in ENGINES):
        raise UserError(f"translation.device is cuda, and the {ENGINES[0]} engine runs on CPUs only; set it to auto")
    slugs = {}
    for owner, model in [*TRANSLATION_MODELS, *BASE_MODEL_OWNERS]:
        slug = references.parse(model).slug
        if slugs.setdefault(slug, (owner, model)) != (owner, model):
            raise UserError(f"models {slugs[slug][1]} ({slugs[slug][0]}) and {model} ({owner}) would share a folder")
    if not TRANSLATION["allow_noncommercial"]:
        for pair in [*PAIRS.values(), *FALLBACK_PAIRS.values()]:
            licences.check(pair.licence, pair.model)


checked(routes.check_languages, config, LANGUAGES)
# Each engine and model once.
TRANSLATION_MODELS = {
    (engine, pair.model): None for engine, pairs in zip(ENGINES, (PAIRS, FALLBACK_PAIRS)) for pair in pairs.values()
}
checked(check_models)
BASE_MODELS = {references.parse(model).slug: model for _, model in BASE_MODEL_OWNERS}
TRANSLATION_MODELS = {references.parse(model).slug: (engine, model) for engine, model in TRANSLATION_MODELS}
# Results folders that have every shard, and those whose split is known to be done.
SHARDS_THERE, SPLIT = set(), set()
SOURCE_FILES = checked(dataset_reference.local_files, configuration.dataset_arguments(config))
checked(dataset_reference.check_exist, SOURCE_FILES)
checked(usable, *SOURCE_FILES.values())


def route(wildcards):
    """How the messages of a source language reach the target language."""
    return routes.find_route(wildcards.source, wildcards.lang, PAIRS, engines.find(ENGINES[0]).ROUTE)


def system_prompt(wildcards):
    """The configured system prompt, or the language's own; empty for none."""
    configured = config["threads"]["system_prompt"]
    return LANGUAGES[wildcards.lang].system_prompt if configured is None else configured


def language_name(wildcards):
    return LANGUAGES[wildcards.lang].name


def prompt_template(base_model, wildcards):
    """The chat template that a base model is tuned with: one of ours, a file of the user's, or what suits the model."""
    prompt_format = config["threads"]["prompt_format"]
    if prompt_format in ("auto", "tokenizer"):
        return model_folder(base_model, "templates").format(**wildcards)
    if prompt_format.endswith(".jinja"):
        return prompt_format
    return f"config/templates/{prompt_format}.jinja"


def check_tuning():
    template = config["threads"]["prompt_format"]
    if template.endswith(".jinja") and not Path(template).is_file():
        raise UserError(f"threads.prompt_format: no such template: {template}")
    usable(template)
    for folder, settings in TUNING.items():
        name, gpus = ".".join(Path(folder).parts) or "tuning", settings["gpus"]
        if settings["fsdp"] and not Path(settings["fsdp"]).is_file():
            raise UserError(f"{name}.fsdp: no such accelerate configuration: {settings['fsdp']}")
        if settings["fsdp"] and gpus < 2:
            raise UserError(f"{name}.fsdp shares a model out among several GPUs; set {name}.gpus, or fsdp to null")
        if gpus > 1 and not settings["target_tokens"] and settings["batch_size"] * settings["accumulation"] % gpus:
            raise UserError(
                f"{name}: a step of batch_size x accumulation sequences cannot be shared out among {gpus} GPUs; make it"
                f" a multiple of {gpus}"
            )
        if settings["validation"]["patience"] and not settings["validation"]["interval"]:
            raise UserError(f"{name}.validation.patience needs an interval; set {name}.validation.interval")


checked(check_tuning)


def translation_options(wildcards):
    """Engines, models and checks as arguments of scripts/pivot.py and translate.py; none where no model translates.

    It takes no `input`: Snakemake does not compare the params that do, and results would be kept that are stale.
    """
    models = (translation_model(wildcards), fallback_model(wildcards))
    options = []
    for prefix, engine, pairs, model in zip(("", "fallback-"), ENGINES, (PAIRS, FALLBACK_PAIRS), models):
        if model:
            pair = pairs[languages_between(wildcards)]
            values = {
                "engine": engine,
                "model": model[0],
                "source-code": pair.source_code,
                "target-code": pair.target_code,
            }
            options += [f"--{prefix}{name}={value}" for name, value in values.items() if value]
    if not options:
        return []
    values = TRANSLATION if "llm" in ENGINES else TRANSLATION | {"prompt": None}
    return options + as_arguments(EngineSettings, values) + as_arguments(QualityLimits, config["quality"])


def source_shard(wildcards):
    """One shard, judged by its checksum once split has run."""
    once_split(wildcards)
    return f"{wildcards.results}/source/shards/{wildcards.source}/{wildcards.shard}.parquet"


def once_split(wildcards):
    """No file, but a verdict: whether a job is stale is judged once split has run, and not foreseen.

    Snakemake judges anew only jobs whose own inputs wait for the checkpoint; all others run although nothing that they
    read has changed. Where a shard is missing (a first run, a new source language) nothing waits: Snakemake would not
    see that split has to run, and would give jobs that wait another shard's file.
    """
    once_earlier_jobs_ended()
    results = wildcards.results
    if results not in SPLIT and shards_exist(results):
        snakemake_internals.await_checkpoint(checkpoints.split, results=results)
        SPLIT.add(results)
    return []


def shards_exist(results):
    """Whether every shard is there; asked for hundreds of jobs, it looks only until they are."""
    if results not in SHARDS_THERE:
        there = all(os.path.exists(f"{results}/source/shards/{name}.parquet") for name in SHARD_NAMES)
        SHARDS_THERE.update({results} if there else ())
    return results in SHARDS_THERE


def translation_model_mb(wildcards):
    """How large a translation model is on the disk, in MB: the usual size of its engine's models."""
    return engines.find(TRANSLATION_MODELS[wildcards.model][0]).MODEL_MB


def translation_gpus(wildcards):
    """One GPU where a model translates that can use it, unless the configuration wants the CPU."""
    # Jobs of two kinds cannot be in one group: where shards are grouped, all ask for the same.
    grouped = GPU_MODEL and snakemake_internals.is_grouped(workflow, "pivot", "translate")
    names = ENGINES if grouped else translation_engines(wildcards)
    on_gpu = any(engines.find(engine).ON_GPU for engine in names)
    return int(on_gpu and TRANSLATION["device"] != "cpu")


def translation_engines(wildcards):
    """The engines that translate a shard; none where it is native, or nothing can translate it."""
    pair = languages_between(wildcards)
    return [engine for engine, pairs in zip(ENGINES, (PAIRS, FALLBACK_PAIRS)) if pair in PAIRS and pair in pairs]


def languages_between(wildcards):
    """The languages that pivot or translate goes from and to."""
    if "lang" not in wildcards.keys():
        return wildcards.source, ENGLISH
    return ENGLISH if route(wildcards).kind == "pivot" else wildcards.source, wildcards.lang


def translation_model(wildcards):
    """The model folder; none for native messages and those without a route."""
    pair = PAIRS.get(languages_between(wildcards))
    return [model_folder(pair.model, "translation").format(**wildcards)] if pair else []


def fallback_model(wildcards):
    """The second engine's model folder where there is one."""
    pair = FALLBACK_PAIRS.get(languages_between(wildcards))
    return (
        [model_folder(pair.model, "translation").format(**wildcards)] if pair and translation_model(wildcards) else []
    )


def translators(wildcards):
    """The folders of all models that translate into a language, on the way through English too."""
    models = []
    for source in SHARDS:
        kind = routes.find_route(source, wildcards.lang, PAIRS, engines.find(ENGINES[0]).ROUTE).kind
        steps = [(source, ENGLISH), (ENGLISH, wildcards.lang)] if kind == "pivot" else [(source, wildcards.lang)]
        for step in steps:
            models += [pairs[step].model for pairs in (PAIRS, FALLBACK_PAIRS) if step in PAIRS and step in pairs]
    return [model_folder(model, "translation").format(**wildcards) for model in dict.fromkeys(models)]


def shard_to_translate(wildcards):
    """The shard in English where the route goes through it, else as it is."""
    if route(wildcards).kind == "pivot":
        return rules.pivot.output[0].format(**wildcards)
    return source_shard(wildcards)


def check_scope():
    if config["source"]["scope"] != "all":
        raise UserError(
            f"preferences compare replies that source.scope: {config['source']['scope']} does not translate;"
            " set source.scope to all"
        )


def dataset_of_all_messages(wildcards):
    """The dataset, refused where the scope leaves out the replies that are not in a thread."""
    checked(check_scope)
    return "{results}/{lang}/dataset/{split}.parquet".format(**wildcards)


def given(option, values):
    """An option for each value, none for none: `--x=value` also where the value is empty or looks like an option."""
    return [f"{option}={value}" for value in values]


def evaluation_prompts(wildcards):
    """The held-out prompts of the language; where there are none, the validation threads' own questions serve."""
    path = f"config/prompts/{wildcards.lang}.txt"
    return [path] if Path(path).is_file() else []


def refuse_language(wildcards):
    checked(find, wildcards.unknown, LANGUAGES)
