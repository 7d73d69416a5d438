"""Translation: models fetched once, shards into English where there is no direct model, then into the target language."""


rule fetch_translation_model:
    input:
        script="scripts/fetch_translation_model.py",
        library=lambda wildcards: library(
            "fetch_translation_model", *engines.modules(TRANSLATION_MODELS[wildcards.model][0], fetched=True)
        ),
        files=lambda wildcards: local_model_files(TRANSLATION_MODELS[wildcards.model][1]),
    output:
        model=directory("{results}/models/translation/{model}"),
    log:
        "{results}/logs/models/translation/{model}.log",
    benchmark:
        "{results}/benchmarks/models/translation/{model}.jsonl"
    localrule: True
    conda:
        "../envs/conversion.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: 2000 + 3 * translation_model_mb(wildcards),
        runtime=20,
        gpu=0,
        disk_mb=translation_model_mb,
    params:
        engine=lambda wildcards: TRANSLATION_MODELS[wildcards.model][0],
        reference=lambda wildcards: TRANSLATION_MODELS[wildcards.model][1],
        # With `input` it is not compared: a model that is there is the same with leave and without.
        licence=lambda wildcards, input: ["--allow-noncommercial"] if TRANSLATION["allow_noncommercial"] else [],
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script} \
            --engine={params.engine:q} \
            --model={params.reference:q} \
            {params.licence:q} \
            --lock={wildcards.results:q}/models/lock.json \
            --output={output.model:q} 2>&1 | tee {log:q}
        """


rule pivot:
    input:
        script="scripts/pivot.py",
        library=translation_library("pivot"),
        shard=source_shard,
        model=translation_model,
        fallback=fallback_model,
    output:
        "{results}/pivot/{source}/{shard}.parquet",
    log:
        "{results}/logs/pivot/{source}/{shard}.log",
    benchmark:
        "{results}/benchmarks/pivot/{source}/{shard}.jsonl"
    conda:
        f"../envs/{TRANSLATION_ENVIRONMENT}.yaml"
    threads: 4
    resources:
        mem_mb=more_if_tried_again(TRANSLATION_MEMORY),
        runtime=more_if_tried_again(60),
        gpu=translation_gpus,
        gpu_model=gpu_model(translation_gpus),
        disk_mb=50,
    params:
        route=engines.find(ENGINES[0]).ROUTE,
        options=translation_options,
    shell:
        r"""
        python {input.script} \
            --shard={input.shard:q} \
            --source={wildcards.source:q} \
            --route={params.route:q} \
            {params.options:q} \
            --workers={threads} \
            --gpus={resources.gpu} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule translate:
    input:
        script="scripts/translate.py",
        library=translation_library("translate"),
        after=once_split,
        shard=shard_to_translate,
        model=translation_model,
        fallback=fallback_model,
    output:
        "{results}/{lang}/translated/{source}/{shard}.parquet",
    log:
        "{results}/logs/{lang}/translated/{source}/{shard}.log",
    benchmark:
        "{results}/benchmarks/{lang}/translated/{source}/{shard}.jsonl"
    conda:
        f"../envs/{TRANSLATION_ENVIRONMENT}.yaml"
    threads: lambda wildcards: 4 if route(wildcards).last else 1
    resources:
        mem_mb=more_if_tried_again(TRANSLATION_MEMORY),
        runtime=more_if_tried_again(60),
        gpu=translation_gpus,
        gpu_model=gpu_model(translation_gpus),
        disk_mb=50,
    params:
        route=lambda wildcards: route(wildcards).kind,
        options=translation_options,
    shell:
        r"""
        python {input.script} \
            --shard={input.shard:q} \
            --source={wildcards.source:q} \
            --target={wildcards.lang:q} \
            --route={params.route:q} \
            {params.options:q} \
            --workers={threads} \
            --gpus={resources.gpu} \
            --output={output:q} 2>&1 | tee {log:q}
        """
