"""Reports as pages: the report of an adapter, and the table of all adapters that were built."""


rule report:
    input:
        script=own("scripts/report.py"),
        library=library("report"),
        page=[own(f"report/{name}") for name in ("report.html", "page.html", "macros.html", "style.css")],
        languages=found("config/languages.tsv"),
        after=after_split,
        source=FETCHED,
        models=translators,
        teacher=teacher.models,
        base_model=adapters.base_model,
        dataset=rules.combine.output,
        threads=adapters.threads,
        mix=adapters.mix_seen,
        preferences=adapters.pairs,
        accounts=adapters.accounts,
        adapter=rules.tune.output.adapter,
        sft_adapter=adapters.before,
        evaluation=rules.evaluate.output,
        harness=evaluations.harness_results,
        judged=judging.judged,
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
        gpu=0,
        disk_mb=5,
    params:
        source=literal([*given("--source-name", sources.dataset_names), *given("--source-licence", sources.licences)]),
        teacher=lambda wildcards, input: given("--teacher", input.teacher),
        mix=lambda wildcards, input: given("--mix", input.mix),
        sft_adapter=lambda wildcards, input: given("--sft-adapter", input.sft_adapter),
        settings=lambda wildcards: adapters.changed_settings(DEFAULTS),
        folder=lambda wildcards: f"{wildcards.variant}{wildcards.stage}",
        dataset=lambda wildcards, input: str(Path(input.dataset[0]).parent),
        evaluation=lambda wildcards, input: str(Path(input.evaluation[0]).parent),
        results=RESULTS,
    shell:
        r"""
        python {input.script:q} \
            --target={wildcards.lang:q} \
            --languages={input.languages:q} \
            --source {input.source:q} \
            {params.source:q} \
            --models {input.models:q} \
            {params.teacher:q} \
            --base-model={input.base_model:q} \
            --dataset={params.dataset:q} \
            --threads {input.threads:q} \
            --preferences {input.preferences:q} \
            {params.mix:q} \
            --adapter={input.adapter:q} \
            {params.sft_adapter:q} \
            --evaluation={params.evaluation:q} \
            --settings={params.settings:q} \
            --results={params.results:q} \
            --folder={params.folder:q} \
            --template={input.page[0]:q} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule summary:
    input:
        unpack(summarised),
        script=own("scripts/summary.py"),
        library=library("summary"),
        page=[own(f"report/{name}") for name in ("summary.html", "page.html", "macros.html", "style.css")],
        languages=found("config/languages.tsv"),
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
        gpu=0,
        disk_mb=1,
    params:
        results=RESULTS,
    shell:
        r"""
        python {input.script:q} \
            --metrics {input.metrics:q} \
            --results={params.results:q} \
            --languages={input.languages:q} \
            --template={input.page[0]:q} \
            --output={output:q} 2>&1 | tee {log:q}
        """
