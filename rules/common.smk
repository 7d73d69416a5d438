"""Validation of the configuration, and the helpers that give rules their paths and values."""

import csv
import os
import re
import sys
from pathlib import Path

import yaml

# At the end of the path: a script's name must not hide a package from Snakemake.
sys.path.append(str(Path(workflow.basedir) / "scripts"))

from mothertongue import configuration, references, source
from mothertongue.engines import CLASSES
from mothertongue.errors import UserError
from mothertongue.languages import find, nearest_language, read_languages
from mothertongue.routes import ENGLISH, find_route, parse_pairs

# Rules call the Python that runs Snakemake; --sdm conda puts a rule's own environment before it.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# Only fetch rules may reach the hub.
os.environ["HF_HUB_OFFLINE"] = "1"


def checked(check, *arguments):
    """The result of a check of what the user gave; an objection ends Snakemake with its one line."""
    try:
        return check(*arguments)
    except UserError as error:
        sys.exit(f"error: {error}")


checked(
    configuration.check,
    config,
    yaml.safe_load(Path("config/schemas/config.schema.yaml").read_text()),
)

LANGUAGES = read_languages(Path("config/languages.tsv"))
SHARDS = {language: config["source"]["shards"].get(language, 1) for language in config["source"]["languages"]}
SHARD_NAMES = [f"{language}/{shard}" for language, count in SHARDS.items() for shard in range(count)]


wildcard_constraints:
    results=re.escape(config["results"]),
    lang="|".join(map(re.escape, LANGUAGES)),
    source="[a-z]+",
    shard=r"\d+",
    split="train|validation",
    model="[^/]+",


def library(*modules):
    """The library modules whose change alters a rule's output."""
    return [f"scripts/mothertongue/{module}.py" for module in ("__init__", *modules)]


def model_references():
    """The translation model of every pair (source, target): the engine's table, then the configuration's own."""
    pairs = {}
    if config["translation"]["engine"] == "opus-mt":
        with open("config/opus_mt.tsv", encoding="utf-8") as table:
            pairs = {(row["source"], row["target"]): row["model"] for row in csv.DictReader(table, delimiter="\t")}
    return pairs | parse_pairs(config["translation"]["models"])


def model_folder(reference, kind):
    """Where fetch_translation_model or fetch_base_model puts a model."""
    return f"{{results}}/models/{kind}/{references.parse(reference).slug}"


def local_model_files(reference):
    """The files of a model in a local folder or file, whose edit makes the fetched copy stale."""
    parsed = references.parse(reference)
    if parsed.kind == "file":
        return [reference]
    if parsed.kind == "folder":
        return sorted(str(path) for path in Path(reference).expanduser().iterdir() if path.is_file())
    return []


def check_models():
    """Refuse bad model references before anything runs; two references never share a folder."""
    slugs = {}
    for reference in [*set(MODELS.values()), config["tuning"]["base_model"]]:
        slug = references.parse(reference).slug
        if slugs.setdefault(slug, reference) != reference:
            raise UserError(f"models {slugs[slug]} and {reference} would share the folder {slug}")


MODELS = model_references()
checked(check_models)
TRANSLATION_MODELS = {references.parse(model).slug: model for model in MODELS.values()}
BASE_MODEL = config["tuning"]["base_model"]
SOURCE_FILES = checked(source.local_files, configuration.dataset_arguments(config))
checked(source.check_exist, SOURCE_FILES)


def route(wildcards):
    """How the messages of a source language reach the target language."""
    return find_route(wildcards.source, wildcards.lang, MODELS)


def system_prompt(wildcards):
    """The configured system prompt, or the language's own; empty for none."""
    configured = config["threads"]["system_prompt"]
    return LANGUAGES[wildcards.lang].system_prompt if configured is None else configured


def language_name(wildcards):
    return LANGUAGES[wildcards.lang].name


def prompt_template():
    """The chat template of the threads: one of ours, a file of the user's, or the base model's own."""
    prompt_format = config["threads"]["prompt_format"]
    if prompt_format == "tokenizer":
        return model_folder(BASE_MODEL, "base")
    if prompt_format.endswith(".jinja"):
        return prompt_format
    return f"config/templates/{prompt_format}.jinja"


def check_template():
    template = prompt_template()
    if template.endswith(".jinja") and not Path(template).is_file():
        raise UserError(f"threads.prompt_format: no such template: {template}")


checked(check_template)


def refuse_language(wildcards):
    checked(find, wildcards.unknown, LANGUAGES)


# A target in no known language matches here alone, and gets one line that says so.
rule unknown_language:
    input:
        refuse_language,
    output:
        "{results}/{unknown}/{file}",
    wildcard_constraints:
        unknown=rf"(?!(?:source|models|pivot|logs|benchmarks|{'|'.join(map(re.escape, LANGUAGES))})/)[^/]+",
        file="(?:dataset|threads|adapter|translated|evaluation|report).*",
    localrule: True
    shell:
        "false"
