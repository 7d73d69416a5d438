"""Translation: models fetched once, shards into English where there is no direct model, then into the target language."""


rule fetch_translation_model:
    input:
        script="scripts/fetch_translation_model.py",
        library=library("engines/__init__", "errors", "fetching", "files", "progress", "references"),
        files=lambda wildcards: local_model_files(TRANSLATION_MODELS[wildcards.model]),
    output:
        model=directory("{results}/models/translation/{model}"),
    log:
        "{results}/logs/models/translation/{model}.log",
    benchmark:
        "{results}/benchmarks/models/translation/{model}.jsonl"
    localrule: True
    conda:
        "../envs/translation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        engine=ENGINE,
        reference=lambda wildcards: TRANSLATION_MODELS[wildcards.model],
    shell:
        r"""
        HF_HUB_OFFLINE=0 python {input.script} \
            --engine {params.engine:q} \
            --model {params.reference:q} \
            --output {output.model:q} 2>&1 | tee {log:q}
        """


rule pivot:
    input:
        script="scripts/pivot.py",
        library=TRANSLATION_LIBRARY + library("routes"),
        shard=source_shard,
        model=pivot_model,
    output:
        "{results}/pivot/{source}/{shard}.parquet",
    log:
        "{results}/logs/pivot/{source}/{shard}.log",
    benchmark:
        "{results}/benchmarks/pivot/{source}/{shard}.jsonl"
    conda:
        "../envs/translation.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        options=lambda wildcards, input: translation_options([input.model]),
    shell:
        r"""
        python {input.script} \
            --shard {input.shard:q} \
            {params.options:q} \
            --workers {threads} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule translate:
    input:
        script="scripts/translate.py",
        library=TRANSLATION_LIBRARY,
        after=once_split,
        shard=shard_to_translate,
        model=translation_model,
    output:
        "{results}/{lang}/translated/{source}/{shard}.parquet",
    log:
        "{results}/logs/{lang}/translated/{source}/{shard}.log",
    benchmark:
        "{results}/benchmarks/{lang}/translated/{source}/{shard}.jsonl"
    conda:
        "../envs/translation.yaml"
    threads: lambda wildcards: 4 if route(wildcards).model else 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        route=lambda wildcards: route(wildcards).kind,
        options=lambda wildcards, input: translation_options(input.model),
    shell:
        r"""
        python {input.script} \
            --shard {input.shard:q} \
            --target {wildcards.lang:q} \
            --route {params.route:q} \
            {params.options:q} \
            --workers {threads} \
            --output {output:q} 2>&1 | tee {log:q}
        """
