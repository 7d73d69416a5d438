"""The dataset of a target language: its combined shards, and the threads and preferences for training."""


rule combine:
    input:
        script=own("scripts/combine.py"),
        library=library("combine"),
        shards=expand("{{results}}/{{lang}}/{folder}/{shard}.parquet", folder=teacher.folder, shard=sources.shard_names),
        after=after_split,
        counts="{results}/source/counts.json",
        models=translators,
        teacher=teacher.models,
        corrections=corrections_of,
        glossary=glossary_of,
    output:
        train="{results}/{lang}/dataset/train.parquet",
        validation="{results}/{lang}/dataset/validation.parquet",
        card=report(
            "{results}/{lang}/dataset/README.md",
            category="{lang}",
            caption="../report/captions/card.rst",
            labels={"of": "dataset", "shows": "card"},
        ),
        accounting="{results}/{lang}/dataset/accounting.json",
        quality="{results}/{lang}/dataset/quality.json",
        plots=[
            report(
                f"{{results}}/{{lang}}/dataset/quality/{plot}.svg",
                category="{lang}",
                caption="../report/captions/quality.rst",
                labels={"of": "translations", "shows": plot.replace("_", " ")},
            )
            for plot in ("statuses", "reasons", "length_ratios", "languages", "scores")
        ],
    log:
        "{results}/logs/{lang}/dataset.log",
    benchmark:
        "{results}/benchmarks/{lang}/dataset.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        gpu=0,
        disk_mb=200,
    params:
        # With `input` Snakemake does not compare it: the name is for card and plots, and all training would follow.
        name=lambda wildcards, input: language_name(wildcards),
        source=literal([*given("--source", sources.dataset_names), *given("--licence", sources.licences)]),
        glossary=lambda wildcards, input: given("--glossary", input.glossary),
        # Without `input`, so that Snakemake compares it: the sample decides whose verdicts count.
        review=lambda wildcards: (
            [f"--review-{name}={config['review'][name]}" for name in ("sample", "seed")]
            if corrections_of(wildcards)
            else []
        ),
        on_flagged=config["quality"]["on_flagged"],
        folder=lambda wildcards, output: str(Path(output.train).parent),
    shell:
        r"""
        python {input.script:q} \
            --shards {input.shards:q} \
            --counts={input.counts:q} \
            --models {input.models:q} \
            --teacher {input.teacher:q} \
            --target={wildcards.lang:q} \
            --name={params.name:q} \
            {params.source:q} \
            --corrections {input.corrections:q} \
            {params.review:q} \
            {params.glossary:q} \
            --on-flagged={params.on_flagged:q} \
            --output={params.folder:q} 2>&1 | tee {log:q}
        """


# For `update`: a refused sample is not up to date.
snakemake_internals.make_again_what_failed()


rule review:
    input:
        script=own("scripts/review.py"),
        library=library("review"),
        shards=rules.combine.input.shards,
        after=after_split,
        corrections=corrections_of,
    output:
        # Sheets that people have filled in where they lie are not overwritten, see the script.
        update(multiext("{results}/{lang}/review/", "sample.xlsx", "sample.csv", "sample.json", "labels.xml")),
    log:
        "{results}/logs/{lang}/review.log",
    benchmark:
        "{results}/benchmarks/{lang}/review.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        gpu=0,
        disk_mb=50,
    params:
        settings=as_arguments(ReviewSettings, config["review"]),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        r"""
        python {input.script:q} \
            --shards {input.shards:q} \
            --target={wildcards.lang:q} \
            --corrections {input.corrections:q} \
            {params.settings:q} \
            --output={params.folder:q} 2>&1 | tee {log:q}
        """


rule threads:
    input:
        script=own("scripts/threads.py"),
        library=library("threads"),
        after=after_split,
        held_out=evaluations.held_out,
        prompts=prompts_kept_out,
        benchmarks=evaluations.benchmarks_kept_out,
        dataset="{results}/{lang}/dataset/{split}.parquet",
        template=adapters.own_template,
    output:
        threads="{results}/{lang}/threads/{split}.jsonl",
        accounting="{results}/{lang}/threads/{split}.accounting.json",
    log:
        "{results}/logs/{lang}/threads/{split}.log",
    benchmark:
        "{results}/benchmarks/{lang}/threads/{split}.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        gpu=0,
        disk_mb=200,
    params:
        select=config["threads"]["select"],
        system_prompt=system_prompt,
        kept_out=evaluations.kept_out,
    shell:
        r"""
        python {input.script:q} \
            --dataset={input.dataset:q} \
            --select={params.select:q} \
            --system-prompt={params.system_prompt:q} \
            {params.kept_out:q} \
            --template={input.template:q} \
            --output={output.threads:q} \
            --accounting={output.accounting:q} 2>&1 | tee {log:q}
        """


rule preferences:
    input:
        script=own("scripts/preferences.py"),
        library=library("preferences"),
        # Before `after`, which may wait for split: refuse a scope without preferences before anything runs.
        dataset=dataset_of_all_messages,
        after=after_split,
        # What a teacher's answers are compared with.
        translated=(
            expand("{{results}}/{{lang}}/translated/{shard}.parquet", shard=sources.shard_names)
            if teacher.prefers
            else []
        ),
        held_out=evaluations.held_out,
        prompts=prompts_kept_out,
        benchmarks=evaluations.benchmarks_kept_out,
    output:
        preferences="{results}/{lang}/preferences/{split}.jsonl",
        accounting="{results}/{lang}/preferences/{split}.accounting.json",
    log:
        "{results}/logs/{lang}/preferences/{split}.log",
    benchmark:
        "{results}/benchmarks/{lang}/preferences/{split}.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        gpu=0,
        disk_mb=200,
    params:
        pairs=config["preferences"]["pairs"],
        system_prompt=system_prompt,
        kept_out=evaluations.kept_out,
    shell:
        r"""
        python {input.script:q} \
            --dataset={input.dataset:q} \
            --pairs={params.pairs:q} \
            --translated {input.translated:q} \
            --system-prompt={params.system_prompt:q} \
            {params.kept_out:q} \
            --output={output.preferences:q} \
            --accounting={output.accounting:q} 2>&1 | tee {log:q}
        """


rule mix:
    input:
        script=own("scripts/mix.py"),
        library=library("mix"),
        after=after_split,
        threads="{results}/{lang}/threads/train.jsonl",
        accounting="{results}/{lang}/threads/train.accounting.json",
        held_out=evaluations.held_out,
        prompts=prompts_kept_out,
        benchmarks=evaluations.benchmarks_kept_out,
        dataset="{results}/{lang}/dataset/train.parquet",
        base_model=adapters.base_model,
        template=adapters.template,
    output:
        threads="{results}/{lang}/{variant}mix/train.jsonl",
        accounting="{results}/{lang}/{variant}mix/train.accounting.json",
    log:
        "{results}/logs/{lang}/{variant}mix/train.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}mix/train.jsonl"
    localrule: True
    conda:
        "../envs/tuning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=0,
        disk_mb=200,
    params:
        options=lambda wildcards: adapters.mix_options(wildcards, system_prompt_of),
        kept_out=evaluations.kept_out,
    shell:
        r"""
        python {input.script:q} \
            --threads={input.threads:q} \
            --threads-accounting={input.accounting:q} \
            --dataset={input.dataset:q} \
            --base-model={input.base_model:q} \
            --template={input.template:q} \
            {params.options:q} \
            {params.kept_out:q} \
            --output={output.threads:q} \
            --accounting={output.accounting:q} 2>&1 | tee {log:q}
        """
