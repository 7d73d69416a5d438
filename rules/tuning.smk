"""Tuning: fetch the base model once, then train a LoRA adapter on the threads, or on preferences."""


rule fetch_chat_template:
    input:
        script=own("scripts/fetch_chat_template.py"),
        library=library("fetch_chat_template", without=CHANGE_NO_RESULT),
        files=lambda wildcards: chat_template_files(adapters.base_models[wildcards.model]),
        templates=places.folder("config/templates", "*.jinja"),
    output:
        template=directory("{results}/models/templates/{model}"),
    log:
        "{results}/logs/models/templates/{model}.log",
    benchmark:
        "{results}/benchmarks/models/templates/{model}.jsonl"
    localrule: FETCH_HERE
    conda:
        "../envs/tuning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        gpu=0,
        disk_mb=100,
    params:
        reference=lambda wildcards: adapters.base_models[wildcards.model],
        lock=f"{RESULTS}/models/lock.json",
        prompt_format=config["threads"]["prompt_format"],
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script:q} \
            --model={params.reference:q} \
            --prompt-format={params.prompt_format:q} \
            --templates {input.templates:q} \
            --lock={params.lock:q} \
            --output={output.template:q} 2>&1 | tee {log:q}
        """


rule fetch_base_model:
    input:
        script=own("scripts/fetch_base_model.py"),
        library=library("fetch_base_model", without=CHANGE_NO_RESULT),
        files=lambda wildcards: local_model_files(adapters.base_models[wildcards.model]),
    output:
        model=directory("{results}/models/base/{model}"),
    log:
        "{results}/logs/models/base/{model}.log",
    benchmark:
        "{results}/benchmarks/models/base/{model}.jsonl"
    localrule: FETCH_HERE
    conda:
        "../envs/tuning.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=0,
        disk_mb=15000,
    params:
        reference=lambda wildcards: adapters.base_models[wildcards.model],
        lock=f"{RESULTS}/models/lock.json",
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script:q} \
            --model={params.reference:q} \
            --lock={params.lock:q} \
            --output={output.model:q} 2>&1 | tee {log:q}
        """


rule tune:
    input:
        script=own("scripts/tune.py"),
        library=library("tune", without=CHANGE_NO_RESULT),
        after=after_split,
        data=adapters.train_data,
        mix=adapters.mix_account,
        teacher=teacher_of,
        validation=adapters.validation_data,
        base_model=adapters.base_model,
        template=adapters.template,
        adapter=adapters.before,
    output:
        adapter=directory("{results}/{lang}/{variant}{stage}adapter"),
    log:
        "{results}/logs/{lang}/{variant}{stage}adapter.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}{stage}adapter.jsonl"
    conda:
        "../envs/tuning.yaml"
    threads: 8
    resources:
        mem_mb=adapters.memory_mb,
        runtime=720,
        gpu=adapters.gpus,
        gpu_model=gpu_model(adapters.gpus),
        disk_mb=4000,
    params:
        # With `input` Snakemake does not compare it: the name is for the card alone.
        name=lambda wildcards, input: language_name(wildcards),
        validation=lambda wildcards, input: given("--validation", input.validation),
        mix=lambda wildcards, input: given("--mix", input.mix),
        adapter=lambda wildcards, input: given("--adapter", input.adapter),
        options=adapters.options,
        # With `input` Snakemake does not compare it: these do not change what is learned.
        machine=lambda wildcards, input: adapters.machine_options(wildcards, RESULTS),
        time_budget=lambda wildcards, input, resources: given("--time-budget", [resources.runtime] if IN_JOB else []),
    shell:
        r"""
        python {input.script:q} \
            --data={input.data:q} \
            {params.validation:q} \
            {params.mix:q} \
            --teacher {input.teacher:q} \
            --base-model={input.base_model:q} \
            {params.adapter:q} \
            --template={input.template:q} \
            --target={wildcards.lang:q} \
            --name={params.name:q} \
            {params.options:q} \
            {params.machine:q} \
            --gpus={resources.gpu} \
            --cpu-threads={threads} \
            {params.time_budget:q} \
            --output={output.adapter:q} 2>&1 | tee {log:q}
        """
