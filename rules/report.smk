"""The pages that people read: the report of an adapter, and the table of all that were built."""


def models_into(wildcards):
    """The folders of the translation models that a language's dataset is made with."""
    steps = []
    for source in SHARDS:
        kind = routes.find_route(source, wildcards.lang, PAIRS).kind
        through_english = [(source, ENGLISH), (ENGLISH, wildcards.lang)]
        steps += through_english if kind == "pivot" else [(source, wildcards.lang)]
    models = [
        pairs[step].model for step in steps if step in PAIRS for pairs in (PAIRS, FALLBACK_PAIRS) if step in pairs
    ]
    return list(dict.fromkeys(model_folder(model, "translation").format(**wildcards) for model in models))


def preference_accounts(wildcards):
    """The accounts of the preferences, where the adapter is tuned on them."""
    if tuning(wildcards)["method"] == "sft":
        return []
    return expand("{results}/{lang}/preferences/{split}.accounting.json", split=SPLITS, **wildcards)


def changed_settings(wildcards):
    """The settings that differ from config/config.yaml's, those of a variant as the tuning's."""
    find_variant(wildcards.variant)
    settings = config | {"tuning": TUNING[wildcards.variant], "variants": {}}
    return json.dumps(configuration.differences(settings, DEFAULTS))


def built(wildcards):
    """The evaluations that are there when Snakemake starts, and what the table says beside them.

    They are named by paths that no rule makes: the table is of what stands, and asking for it builds nothing else.
    """
    folders = ("", "sft", "variants/*", "variants/*/sft")
    languages = [Path(wildcards.results, lang) for lang in LANGUAGES]
    found = [
        (language, evaluation.parents[1])
        for language in languages
        for folder in folders
        for evaluation in sorted(language.glob(str(Path(folder, "evaluation/metrics.json"))))
    ]
    beside = [own / name for _, own in found for name in ("adapter/training.json", "report.html")]
    beside += [
        lang / name for lang, _ in found for name in ("dataset/accounting.json", "threads/train.accounting.json")
    ]
    path = os.path.relpath if Path(wildcards.results).is_absolute() else os.path.abspath
    return {
        "metrics": [path(own / "evaluation/metrics.json") for _, own in found],
        "beside": sorted({path(file) for file in beside if file.is_file()}),
    }


rule report:
    input:
        script="scripts/report.py",
        library=library(
            "errors",
            "examples",
            "files",
            "languages",
            "licences",
            "measured",
            "message_flow",
            "messages",
            "pages",
            "progress",
            "report_data",
            "report_page",
            "run_costs",
            "sides",
        ),
        page=expand("report/{file}", file=("report.html", "page.html", "macros.html", "style.css")),
        languages="config/languages.tsv",
        after=once_split,
        source=rules.fetch.output.record,
        models=models_into,
        base_model=base_model,
        dataset=rules.combine.output,
        threads=expand(rules.threads.output.accounting, split=SPLITS, allow_missing=True),
        preferences=preference_accounts,
        adapter=rules.tune.output.adapter,
        evaluation=rules.evaluate.output,
    output:
        report(
            "{results}/{lang}/{variant}{stage}report.html",
            category="{lang}",
            caption="../report/captions/report.rst",
            labels={"of": "{variant}{stage}adapter", "shows": "everything on one page"},
        ),
    log:
        "{results}/logs/{lang}/{variant}{stage}report.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}{stage}report.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        disk_mb=5,
    params:
        source=configuration.dataset_name(config),
        licence=config["source"]["licence"],
        settings=changed_settings,
        folder=lambda wildcards: f"{wildcards.variant}{wildcards.stage}",
    shell:
        r"""
        python {input.script} \
            --target {wildcards.lang:q} \
            --languages {input.languages:q} \
            --source {input.source:q} \
            --source-name {params.source:q} \
            --source-licence {params.licence:q} \
            --models {input.models:q} \
            --base-model {input.base_model:q} \
            --dataset {wildcards.results:q}/{wildcards.lang:q}/dataset \
            --threads {input.threads:q} \
            --preferences {input.preferences:q} \
            --adapter {input.adapter:q} \
            --evaluation {wildcards.results:q}/{wildcards.lang:q}/{params.folder:q}evaluation \
            --settings {params.settings:q} \
            --results {wildcards.results:q} \
            --folder {params.folder:q} \
            --template {input.page[0]:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule summary:
    input:
        unpack(built),
        script="scripts/summary.py",
        library=library(
            "errors", "files", "languages", "licences", "measured", "pages", "progress", "sides", "summary_page"
        ),
        page=expand("report/{file}", file=("summary.html", "page.html", "macros.html", "style.css")),
        languages="config/languages.tsv",
    output:
        report(
            "{results}/summary.html",
            category="all languages",
            caption="../report/captions/summary.rst",
            labels={"of": "all adapters", "shows": "one table"},
        ),
    log:
        "{results}/logs/summary.log",
    benchmark:
        "{results}/benchmarks/summary.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
        disk_mb=1,
    shell:
        r"""
        python {input.script} \
            --metrics {input.metrics:q} \
            --results {wildcards.results:q} \
            --languages {input.languages:q} \
            --template {input.page[0]:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """
