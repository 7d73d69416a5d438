"""Tuning: the base model fetched once, then a LoRA adapter trained on the threads."""


rule fetch_chat_template:
    input:
        script="scripts/fetch_chat_template.py",
        library=library("chat_templates", "errors", "fetching", "files", "progress", "prompts", "references"),
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
        disk_mb=100,
    params:
        reference=lambda wildcards: BASE_MODELS[wildcards.model],
        prompt_format=config["threads"]["prompt_format"],
    shell:
        r"""
        HF_HUB_OFFLINE=0 python {input.script} \
            --model {params.reference:q} \
            --prompt-format {params.prompt_format:q} \
            --templates config/templates \
            --output {output.template:q} 2>&1 | tee {log:q}
        """


rule fetch_base_model:
    input:
        script="scripts/fetch_base_model.py",
        library=library("causal_models", "errors", "fetching", "files", "progress", "references"),
        files=local_model_files(BASE_MODEL),
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
        disk_mb=15000,
    params:
        reference=lambda wildcards: BASE_MODELS[wildcards.model],
    shell:
        r"""
        HF_HUB_OFFLINE=0 python {input.script} \
            --model {params.reference:q} \
            --output {output.model:q} 2>&1 | tee {log:q}
        """


rule tune:
    input:
        script="scripts/tune.py",
        library=library(
            "cards",
            "causal",
            "checkpoints",
            "errors",
            "fetching",
            "files",
            "gpus",
            "progress",
            "prompts",
            "references",
            "sequences",
            "threads_file",
            "trees",
            "tuning",
        ),
        after=once_split,
        threads="{results}/{lang}/threads/train.jsonl",
        base_model=model_folder(BASE_MODEL, "base"),
        template=prompt_template(BASE_MODEL),
    output:
        adapter=directory("{results}/{lang}/adapter"),
    log:
        "{results}/logs/{lang}/adapter.log",
    benchmark:
        "{results}/benchmarks/{lang}/adapter.jsonl"
    conda:
        "../envs/tuning.yaml"
    threads: 8
    resources:
        mem_mb=more_if_tried_again(24000),
        runtime=720,
        gpu=config["tuning"]["gpus"],
        disk_mb=4000,
    params:
        name=language_name,
        options=tuning_options(),
    shell:
        r"""
        python {input.script} \
            --threads {input.threads:q} \
            --base-model {input.base_model:q} \
            --template {input.template:q} \
            --target {wildcards.lang:q} \
            --name {params.name:q} \
            {params.options:q} \
            --gpus {resources.gpu} \
            ${{SLURM_JOB_ID:+--time-budget {resources.runtime}}} \
            --output {output.adapter:q} 2>&1 | tee {log:q}
        """
