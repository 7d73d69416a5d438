"""Mothertongue teaches a chat model a new language.

    snakemake --profile profiles/local results/nl/adapter

The input is a dataset of conversation trees, the output a LoRA adapter; every step between is a file:

    results/source/messages.parquet                      fetch        every message of the source dataset
    results/source/shards/{source}/{shard}.parquet       split        slices of one source language
    results/models/translation/{model}/                  fetch_translation_model
    results/models/meaning/{model}/                      fetch_estimator  of labse, which judges translations
    results/pivot/{source}/{shard}.parquet               pivot        into English, where no direct model exists
    results/{lang}/translated/{source}/{shard}.parquet   translate
    results/{lang}/answered/{source}/{shard}.parquet     answer       replies of a teacher, where configured
    results/{lang}/dataset/                              combine      train, validation, card, messages' accounting
    results/{lang}/review/                               review       sheets in which people correct translations
    results/{lang}/threads/{split}.jsonl                 threads      the best-ranked threads as chat prompts
    results/{lang}/preferences/{split}.jsonl             preferences  pairs of replies, the better and the worse
    results/{lang}/mix/train.jsonl                       mix          threads by shares, with replay, where configured
    results/models/templates/{model}/                    fetch_chat_template  the base model's chat template
    results/models/base/{model}/                         fetch_base_model
    results/{lang}/adapter/                              tune
    results/{lang}/variants/{name}/adapter/              tune         the same with the settings of `variants`
    results/{lang}/evaluation/                           evaluate     the adapter's quality, beside the base model's
    results/{lang}/evaluation/judge.json                 judge        who wins by a judge, and whether it can judge
    results/{lang}/report.html                           report       all of it on one page
    results/summary.html                                 summary      every language that is built, in one table
    results/{lang}/published/{kind}.json                 publish      dataset, threads, preferences, adapter on the hub
    results/{lang}/export/merged/                        merge        the adapter merged into its base model
    results/{lang}/export/gguf/{quantization}.gguf       quantize     the same for llama.cpp and Ollama
    results/{lang}/export/{gptq,awq}/                    calibrate    the same in 4 bits for GPU servers
    results/{lang}/export/README.md                      export_card  all exports with perplexities and commands

`results` is the configuration key of that name; logs and benchmarks are below it, at the path of their output.
"""

from snakemake.utils import min_version

# The tested version; scripts/mothertongue/workflow/snakemake_internals.py depends on it.
min_version("9.27.1")


include: "rules/paths.smk"


# A module's configuration is the one that it is given.
if not IS_MODULE:

    configfile: found("config/config.yaml")


# The demo's values override the defaults; the user's own override both.
if globals().get("DEMO"):

    configfile: found("config/demo.yaml")


include: "rules/common.smk"
include: "rules/slurm.smk"


# The introduction of `snakemake --report`.
if not IS_MODULE:

    report: "report/workflow.rst"


# With --sdm apptainer.
if config["container"]:

    container: config["container"]


HELP = """Name what to build, for instance:
    snakemake --profile profiles/demo results/demo/pt/adapter   the demo's adapter
    snakemake --profile profiles/local results/nl/adapter       a Dutch adapter, on this machine
    snakemake -n results/nl/adapter                             what that would do
README.md and docs/ tell the rest."""


rule help:
    input:
        lambda wildcards: sys.exit(HELP),


include: "rules/source.smk"
include: "rules/translation.smk"
include: "rules/teaching.smk"
include: "rules/dataset.smk"
include: "rules/tuning.smk"
include: "rules/evaluation.smk"
include: "rules/report.smk"
include: "rules/publication.smk"
include: "rules/export.smk"
include: "rules/gguf.smk"


# Without a prefix, a module's targets may be those of the workflow that uses it.
if PREFIX or not IS_MODULE:

    include: "rules/unknown_targets.smk"
