"""Tuning: the base model fetched once, then a LoRA adapter trained on the threads, or on preferences."""


rule fetch_chat_template:
    input:
        script="scripts/fetch_chat_template.py",
        library=library("fetch_chat_template"),
        files=lambda wildcards: chat_template_files(BASE_MODELS[wildcards.model]),
        templates=sorted(str(path) for path in Path("config/templates").glob("*.jinja")),
    output:
        template=directory("{results}/models/templates/{model}"),
    log:
        "{results}/logs/models/templates/{model}.log",
    benchmark:
        "{results}/benchmarks/models/templates/{model}.jsonl"
    localrule: True
    conda:
        "../envs/tuning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        gpu=0,
        disk_mb=100,
    params:
        reference=lambda wildcards: BASE_MODELS[wildcards.model],
        prompt_format=config["threads"]["prompt_format"],
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script} \
            --model={params.reference:q} \
            --prompt-format={params.prompt_format:q} \
            --templates config/templates \
            --lock={wildcards.results:q}/models/lock.json \
            --output={output.template:q} 2>&1 | tee {log:q}
        """


rule fetch_base_model:
    input:
        script="scripts/fetch_base_model.py",
        library=library("fetch_base_model"),
        files=lambda wildcards: local_model_files(BASE_MODELS[wildcards.model]),
    output:
        model=directory("{results}/models/base/{model}"),
    log:
        "{results}/logs/models/base/{model}.log",
    benchmark:
        "{results}/benchmarks/models/base/{model}.jsonl"
    localrule: True
    conda:
        "../envs/tuning.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=0,
        disk_mb=15000,
    params:
        reference=lambda wildcards: BASE_MODELS[wildcards.model],
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script} \
            --model={params.reference:q} \
            --lock={wildcards.results:q}/models/lock.json \
            --output={output.model:q} 2>&1 | tee {log:q}
        """


rule tune:
    input:
        script="scripts/tune.py",
        library=library("tune", without=WORDING),
        after=once_split,
        data=training_data,
        validation=validation_data,
        base_model=base_model,
        template=template,
        adapter=adapter_before,
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
        mem_mb=tuning_memory,
        runtime=720,
        gpu=tuning_gpus,
        gpu_model=gpu_model(tuning_gpus),
        disk_mb=4000,
    params:
        name=language_name,
        validation=lambda wildcards, input: given("--validation", input.validation),
        adapter=lambda wildcards, input: given("--adapter", input.adapter),
        options=tuning_options,
        machine=tuning_machine,
    shell:
        r"""
        python {input.script} \
            --data={input.data:q} \
            {params.validation:q} \
            --base-model={input.base_model:q} \
            {params.adapter:q} \
            --template={input.template:q} \
            --target={wildcards.lang:q} \
            --name={params.name:q} \
            {params.options:q} \
            {params.machine:q} \
            --gpus={resources.gpu} \
            --cpu-threads={threads} \
            ${{SLURM_JOB_ID:+--time-budget={resources.runtime}}} \
            --output={output.adapter:q} 2>&1 | tee {log:q}
        """
