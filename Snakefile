"""Mothertongue teaches a chat model a new language.

    snakemake --profile profiles/local results/nl/adapter

Conversation trees go in, a LoRA adapter comes out, and every step between is a file:

    results/source/messages.parquet                      fetch        every message of the source dataset
    results/source/shards/{source}/{shard}.parquet       split        slices of one source language
    results/models/translation/{model}/                  fetch_translation_model
    results/pivot/{source}/{shard}.parquet               pivot        into English, where no direct model exists
    results/{lang}/translated/{source}/{shard}.parquet   translate
    results/{lang}/dataset/                              combine      train, validation, card, account of every message
    results/{lang}/threads/{split}.jsonl                 threads      the best-ranked threads as chat prompts
    results/{lang}/preferences/{split}.jsonl             preferences  pairs of replies, the better and the worse
    results/models/templates/{model}/                    fetch_chat_template  how the base model is spoken to
    results/models/base/{model}/                         fetch_base_model
    results/{lang}/adapter/                              tune
    results/{lang}/variants/{name}/adapter/              tune         the same with the settings of `variants`
    results/{lang}/evaluation/                           evaluate     does it speak the language, beside the base model?
    results/{lang}/report.html                           report       all of it on one page
    results/summary.html                                 summary      every language that is built, in one table
    results/{lang}/published/{kind}.json                 publish      dataset, threads or adapter on the hub
    results/{lang}/export/merged/                        merge        the adapter folded into its base model
    results/{lang}/export/gguf/{quantization}.gguf       quantize     the same for llama.cpp and Ollama
    results/{lang}/export/{gptq,awq}/                    calibrate    the same in 4 bits for servers with GPUs
    results/{lang}/export/README.md                      export_card  all exports, measured, and how to run each

`results` is the configuration's key of that name; logs and benchmarks stand under it, at the path of their output.
"""

from snakemake.utils import min_version

# What is tested; scripts/mothertongue/workflow/snakemake_internals.py depends on the version.
min_version("9.27.1")


configfile: "config/config.yaml"


# The demo's values lie between the defaults and the user's own, which are laid over both.
if globals().get("DEMO"):

    configfile: "config/demo.yaml"


# What `snakemake --report` says first.
report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/slurm.smk"


HELP = """Name what to build, for instance:
    snakemake --profile profiles/demo results/demo/pt/adapter   the demo's adapter
    snakemake --profile profiles/local results/nl/adapter       a Dutch adapter, on this machine
    snakemake -n results/nl/adapter                             what that would do
README.md and config/README.md tell the rest."""


rule help:
    default_target: True
    input:
        lambda wildcards: sys.exit(HELP),


include: "rules/source.smk"
include: "rules/translation.smk"
include: "rules/dataset.smk"
include: "rules/tuning.smk"
include: "rules/evaluation.smk"
include: "rules/report.smk"
include: "rules/publication.smk"
include: "rules/export.smk"
include: "rules/gguf.smk"
include: "rules/unknown_targets.smk"
