"""Translation: fetch models once, translate shards into English if there is no direct model, then to the target."""


rule fetch_translation_model:
    input:
        script=own("scripts/fetch_translation_model.py"),
        library=lambda wildcards: library(
            "fetch_translation_model",
            *engines.modules(translations.models[wildcards.model][0], fetched=True),
            without=CHANGE_NO_RESULT,
        ),
        files=lambda wildcards: local_model_files(translations.models[wildcards.model][1]),
    output:
        model=directory("{results}/models/translation/{model}"),
    log:
        "{results}/logs/models/translation/{model}.log",
    benchmark:
        "{results}/benchmarks/models/translation/{model}.jsonl"
    localrule: FETCH_HERE
    conda:
        "../envs/conversion.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: 2000 + 3 * translations.model_mb(wildcards),
        runtime=20,
        gpu=0,
        disk_mb=translations.model_mb,
    params:
        engine=lambda wildcards: translations.models[wildcards.model][0],
        reference=lambda wildcards: translations.models[wildcards.model][1],
        lock=f"{RESULTS}/models/lock.json",
        # With `input` Snakemake does not compare it: the permission does not change a fetched model.
        licence=lambda wildcards, input: (
            ["--allow-noncommercial"] if config["translation"]["allow_noncommercial"] else []
        ),
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script:q} \
            --engine={params.engine:q} \
            --model={params.reference:q} \
            {params.licence:q} \
            --lock={params.lock:q} \
            --output={output.model:q} 2>&1 | tee {log:q}
        """


rule fetch_estimator:
    input:
        script=own("scripts/fetch_estimator.py"),
        library=library("fetch_estimator", without=CHANGE_NO_RESULT),
        files=lambda wildcards: local_model_files(translations.estimator_models[wildcards.model]),
    output:
        model=directory("{results}/models/meaning/{model}"),
    log:
        "{results}/logs/models/meaning/{model}.log",
    benchmark:
        "{results}/benchmarks/models/meaning/{model}.jsonl"
    localrule: FETCH_HERE
    conda:
        "../envs/conversion.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
        gpu=0,
        disk_mb=2000,
    params:
        reference=lambda wildcards: translations.estimator_models[wildcards.model],
        lock=f"{RESULTS}/models/lock.json",
        # With `input` Snakemake does not compare it: the permission does not change a fetched model.
        licence=lambda wildcards, input: (
            ["--allow-noncommercial"] if config["translation"]["allow_noncommercial"] else []
        ),
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script:q} \
            --model={params.reference:q} \
            {params.licence:q} \
            --lock={params.lock:q} \
            --output={output.model:q} 2>&1 | tee {log:q}
        """


rule describe_endpoint:
    input:
        script=own("scripts/describe_endpoint.py"),
        library=library("describe_endpoint", without=CHANGE_NO_RESULT),
    output:
        model=directory("{results}/models/endpoints/{group}"),
    log:
        "{results}/logs/models/endpoints/{group}.log",
    benchmark:
        "{results}/benchmarks/models/endpoints/{group}.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
        gpu=0,
        disk_mb=1,
    params:
        model=lambda wildcards: endpoints[wildcards.group].model_options,
    shell:
        r"""
        python {input.script:q} \
            {params.model:q} \
            --output={output.model:q} 2>&1 | tee {log:q}
        """


rule fetch_served_model:
    input:
        script=own("scripts/fetch_served_model.py"),
        library=library("fetch_served_model", without=CHANGE_NO_RESULT),
        files=lambda wildcards: local_model_files(served[wildcards.model].keys["model"]),
    output:
        model=directory("{results}/models/served/{model}"),
    log:
        "{results}/logs/models/served/{model}.log",
    benchmark:
        "{results}/benchmarks/models/served/{model}.jsonl"
    localrule: FETCH_HERE
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
        disk_mb=20000,
    params:
        model=lambda wildcards: served[wildcards.model].served_options,
        lock=f"{RESULTS}/models/lock.json",
        # With `input` Snakemake does not compare it: the permission does not change a fetched model.
        licence=lambda wildcards, input: (
            ["--allow-noncommercial"] if config["translation"]["allow_noncommercial"] else []
        ),
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script:q} \
            {params.model:q} \
            {params.licence:q} \
            --lock={params.lock:q} \
            --output={output.model:q} 2>&1 | tee {log:q}
        """


rule pivot:
    input:
        script=own("scripts/pivot.py"),
        library=translations.library("pivot"),
        shard=source_shard,
        model=translations.model,
        fallback=translations.fallback,
        estimator=translations.estimator,
        glossary=glossary_of,
    output:
        "{results}/pivot/{origin}{source}/{shard}.parquet",
    log:
        "{results}/logs/pivot/{origin}{source}/{shard}.log",
    benchmark:
        "{results}/benchmarks/pivot/{origin}{source}/{shard}.jsonl"
    conda:
        f"../envs/{translations.environment}.yaml"
    threads: 4
    resources:
        mem_mb=double_on_retry(translations.memory_mb),
        runtime=double_on_retry(60),
        gpu=translation_gpus,
        gpu_model=gpu_model(translation_gpus),
        disk_mb=50,
    params:
        route=translations.one_step,
        # Both compared, and not in the command. Params are compared as a set: for none, a value that is there already.
        roles=lambda wildcards: translations.roles(wildcards) or translations.one_step,
        planned=lambda wildcards: glossary_planned(wildcards) or translations.one_step,
        models=translations.model_options,
        options=translations.options,
        glossary=lambda wildcards, input: given("--glossary", input.glossary),
        memory=lambda wildcards, input: translations.memory(wildcards, RESULTS, "{source}-en-pivot-{shard}"),
        endpoint=lambda wildcards, input: translations.endpoint(
            wildcards, RESULTS, "{source}-en-pivot-{shard}", "pivot/{origin}{source}/{shard}"
        ),
        secrets=lambda wildcards, input: translations.secrets(wildcards),
    shell:
        r"""
        {params.secrets} python {input.script:q} \
            --shard={input.shard:q} \
            --source={wildcards.source:q} \
            --route={params.route:q} \
            {params.models:q} \
            {params.options:q} \
            {params.glossary:q} \
            {params.memory:q} \
            {params.endpoint:q} \
            --workers={threads} \
            --gpus={resources.gpu} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule translate:
    input:
        script=own("scripts/translate.py"),
        library=translations.library("translate"),
        after=after_split,
        shard=shard_to_translate,
        model=translations.model,
        fallback=translations.fallback,
        estimator=translations.estimator,
        glossary=glossary_of,
    output:
        "{results}/{lang}/translated/{origin}{source}/{shard}.parquet",
    log:
        "{results}/logs/{lang}/translated/{origin}{source}/{shard}.log",
    benchmark:
        "{results}/benchmarks/{lang}/translated/{origin}{source}/{shard}.jsonl"
    conda:
        f"../envs/{translations.environment}.yaml"
    threads: lambda wildcards: 4 if translations.route(wildcards).last else 1
    resources:
        mem_mb=double_on_retry(translations.memory_mb),
        runtime=double_on_retry(60),
        gpu=translation_gpus,
        gpu_model=gpu_model(translation_gpus),
        disk_mb=50,
    params:
        route=lambda wildcards: translations.route(wildcards).kind,
        # Both compared, and not in the command. Params are compared as a set: for none, a value that is there already.
        roles=lambda wildcards: translations.roles(wildcards) or translations.route(wildcards).kind,
        planned=lambda wildcards: glossary_planned(wildcards) or translations.route(wildcards).kind,
        models=translations.model_options,
        options=translations.options,
        glossary=lambda wildcards, input: given("--glossary", input.glossary),
        memory=lambda wildcards, input: translations.memory(wildcards, RESULTS, "{source}-{lang}-{shard}"),
        endpoint=lambda wildcards, input: translations.endpoint(
            wildcards, RESULTS, "{source}-{lang}-{shard}", "{lang}/translated/{origin}{source}/{shard}"
        ),
        secrets=lambda wildcards, input: translations.secrets(wildcards),
    shell:
        r"""
        {params.secrets} python {input.script:q} \
            --shard={input.shard:q} \
            --source={wildcards.source:q} \
            --target={wildcards.lang:q} \
            --route={params.route:q} \
            {params.models:q} \
            {params.options:q} \
            {params.glossary:q} \
            {params.memory:q} \
            {params.endpoint:q} \
            --workers={threads} \
            --gpus={resources.gpu} \
            --output={output:q} 2>&1 | tee {log:q}
        """
