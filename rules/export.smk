"""Export: the adapter in the formats of other programs, each measured on the held-out threads."""


rule merge:
    input:
        script=own("scripts/merge.py"),
        library=library("merge", without=CHANGE_NO_RESULT),
        after=after_split,
        adapter=exports.adapter,
        base_model=adapters.base_model,
    output:
        merged=directory("{results}/{lang}/{variant}export/merged"),
    log:
        "{results}/logs/{lang}/{variant}export/merged.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/merged.jsonl"
    conda:
        "../envs/tuning.yaml"
    threads: 2
    resources:
        mem_mb=double_on_retry(8000),
        runtime=double_on_retry(60),
        gpu=0,
        gpu_model="",
        disk_mb=15000,
    params:
        # With `input` Snakemake does not compare it: the name is for the card alone.
        name=lambda wildcards, input: language_name(wildcards),
        merge_base=exports.merge_base,
    shell:
        r"""
        python {input.script:q} \
            --adapter={input.adapter:q} \
            --base-model={input.base_model:q} \
            --merge-base={params.merge_base:q} \
            --name={params.name:q} \
            --output={output.merged:q} 2>&1 | tee {log:q}
        """


rule perplexity:
    input:
        script=own("scripts/perplexity.py"),
        library=library("perplexity"),
        after=after_split,
        adapter=exports.adapter,
        base_model=adapters.base_model,
        merged=rules.merge.output.merged,
        threads="{results}/{lang}/threads/validation.jsonl",
    output:
        models="{results}/{lang}/{variant}export/perplexity/models.json",
        tokens="{results}/{lang}/{variant}export/perplexity/tokens.jsonl",
    log:
        "{results}/logs/{lang}/{variant}export/perplexity/models.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/perplexity/models.jsonl"
    conda:
        "../envs/tuning.yaml"
    threads: 8
    resources:
        mem_mb=double_on_retry(24000),
        runtime=double_on_retry(60),
        gpu=adapters.one_gpu,
        gpu_model=gpu_model(adapters.one_gpu),
        disk_mb=15000,
    params:
        most=config["evaluation"]["threads"],
    shell:
        r"""
        python {input.script:q} \
            --adapter={input.adapter:q} \
            --base-model={input.base_model:q} \
            --merged={input.merged:q} \
            --threads={input.threads:q} \
            --count={params.most} \
            --gpus={resources.gpu} \
            --tokens={output.tokens:q} \
            --output={output.models:q} 2>&1 | tee {log:q}
        """


rule check_shapes:
    input:
        script=own("scripts/check_shapes.py"),
        library=library("check_shapes"),
        base_model=adapters.base_model,
    output:
        "{results}/{lang}/{variant}export/shapes/{form}.json",
    log:
        "{results}/logs/{lang}/{variant}export/shapes/{form}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/shapes/{form}.jsonl"
    wildcard_constraints:
        form="|".join([*QUANTIZATIONS, *PACKED]),
    # First: if it fails, all other work would be wasted.
    priority: 10
    localrule: True
    conda:
        "../envs/tuning.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
        gpu=0,
        disk_mb=10,
    shell:
        r"""
        python {input.script:q} \
            --base-model={input.base_model:q} \
            --form={wildcards.form:q} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule calibrate:
    input:
        script=own("scripts/calibrate.py"),
        library=library("calibrate", without=CHANGE_NO_RESULT),
        after=after_split,
        shapes="{results}/{lang}/{variant}export/shapes/{form}.json",
        adapter=exports.adapter,
        merged=rules.merge.output.merged,
        threads="{results}/{lang}/threads/train.jsonl",
    output:
        model=directory("{results}/{lang}/{variant}export/{form}"),
    log:
        "{results}/logs/{lang}/{variant}export/{form}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/{form}.jsonl"
    wildcard_constraints:
        form="|".join(PACKED),
    conda:
        "../envs/auto_round.yaml"
    threads: 8
    resources:
        mem_mb=double_on_retry(32000),
        runtime=double_on_retry(720),
        gpu=adapters.one_gpu,
        gpu_model=gpu_model(adapters.one_gpu),
        disk_mb=15000,
    params:
        # With `input` Snakemake does not compare it: the name is for the card alone.
        name=lambda wildcards, input: language_name(wildcards),
        calibration=as_arguments(CalibrationSettings, config["export"]),
    shell:
        r"""
        python {input.script:q} \
            --model={input.merged:q} \
            --adapter={input.adapter:q} \
            --threads={input.threads:q} \
            --form={wildcards.form:q} \
            {params.calibration:q} \
            --name={params.name:q} \
            --gpus={resources.gpu} \
            --output={output.model:q} 2>&1 | tee {log:q}
        """


rule calibrated_perplexity:
    input:
        script=own("scripts/calibrated_perplexity.py"),
        library=library("calibrated_perplexity"),
        after=after_split,
        model="{results}/{lang}/{variant}export/{form}",
        tokens=rules.perplexity.output.tokens,
    output:
        "{results}/{lang}/{variant}export/perplexity/{form}.json",
    log:
        "{results}/logs/{lang}/{variant}export/perplexity/{form}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/perplexity/{form}.jsonl"
    wildcard_constraints:
        form="|".join(PACKED),
    conda:
        "../envs/tuning.yaml"
    threads: 8
    resources:
        mem_mb=double_on_retry(24000),
        runtime=double_on_retry(60),
        gpu=adapters.one_gpu,
        gpu_model=gpu_model(adapters.one_gpu),
        disk_mb=10,
    shell:
        r"""
        python {input.script:q} \
            --model={input.model:q} \
            --tokens={input.tokens:q} \
            --gpus={resources.gpu} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule other_trainers:
    input:
        script=own("scripts/other_trainers.py"),
        library=library("other_trainers"),
        after=after_split,
        train=adapters.sft_data,
        validation="{results}/{lang}/threads/validation.jsonl",
        template=exports.template,
    output:
        axolotl="{results}/{lang}/{variant}export/axolotl.yaml",
        unsloth="{results}/{lang}/{variant}export/unsloth_train.py",
        llama_factory="{results}/{lang}/{variant}export/dataset_info.json",
        threads=expand("{{results}}/{{lang}}/{{variant}}export/threads/{split}.jsonl", split=SPLITS),
    log:
        "{results}/logs/{lang}/{variant}export/other_trainers.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/other_trainers.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
        gpu=0,
        disk_mb=10,
    params:
        settings=exports.settings,
        base_model=exports.base_model,
        revision=exports.base_model_revision,
        folder=lambda wildcards, output: str(Path(output.axolotl).parent),
    shell:
        r"""
        python {input.script:q} \
            --settings={params.settings:q} \
            --base-model={params.base_model:q} \
            {params.revision:q} \
            --train={input.train:q} \
            --validation={input.validation:q} \
            --template={input.template:q} \
            --output={params.folder:q} 2>&1 | tee {log:q}
        """


rule llama_factory:
    input:
        script=own("scripts/llama_factory.py"),
        library=library("llama_factory"),
        after=after_split,
        base_model=adapters.base_model,
        train=exports.train_data,
        validation=exports.validation_data,
        template=adapters.template,
    output:
        folder=directory("{results}/{lang}/{variant}export/llama_factory"),
    log:
        "{results}/logs/{lang}/{variant}export/llama_factory.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/llama_factory.jsonl"
    localrule: True
    conda:
        "../envs/tuning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=0,
        disk_mb=100,
    params:
        settings=exports.settings,
        base_name=exports.base_model_from("llama_factory"),
        revision=exports.base_model_revision,
        before=exports.before_from("llama_factory"),
    shell:
        r"""
        python {input.script:q} \
            --settings={params.settings:q} \
            --base-model={input.base_model:q} \
            --base-name={params.base_name:q} \
            {params.revision:q} \
            {params.before:q} \
            --train={input.train:q} \
            --validation={input.validation:q} \
            --template={input.template:q} \
            --output={output.folder:q} 2>&1 | tee {log:q}
        """


rule axolotl_dpo:
    input:
        script=own("scripts/axolotl_dpo.py"),
        library=library("axolotl_dpo"),
        after=after_split,
        train=exports.train_data,
        validation=exports.validation_data,
        template=exports.dpo_template,
    output:
        folder=directory("{results}/{lang}/{variant}export/axolotl_dpo"),
    log:
        "{results}/logs/{lang}/{variant}export/axolotl_dpo.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/axolotl_dpo.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=0,
        disk_mb=100,
    params:
        settings=exports.settings,
        base_name=exports.base_model_from("axolotl_dpo"),
        revision=exports.base_model_revision,
        before=exports.before_from("axolotl_dpo"),
    shell:
        r"""
        python {input.script:q} \
            --settings={params.settings:q} \
            --base-name={params.base_name:q} \
            {params.revision:q} \
            {params.before:q} \
            --train={input.train:q} \
            --validation={input.validation:q} \
            --template={input.template:q} \
            --output={output.folder:q} 2>&1 | tee {log:q}
        """


rule export_card:
    input:
        script=own("scripts/export_card.py"),
        library=library("export_card"),
        after=after_split,
        adapter=exports.adapter,
        merged=rules.merge.output.merged,
        modelfile="{results}/{lang}/{variant}export/gguf/Modelfile",
        gguf=exports.gguf_files,
        packed=expand("{{results}}/{{lang}}/{{variant}}export/{form}", form=config["export"]["packed"]),
        perplexities=expand(
            "{{results}}/{{lang}}/{{variant}}export/perplexity/{form}.json",
            form=config["export"]["gguf"] + config["export"]["packed"],
        ),
        models=rules.perplexity.output.models,
        beside=lambda wildcards: rules.other_trainers.output if exports.is_sft(wildcards) else [],
        trainers=exports.trainer_folders,
    output:
        "{results}/{lang}/{variant}export/README.md",
    log:
        "{results}/logs/{lang}/{variant}export/README.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/README.jsonl"
    localrule: True
    conda:
        "../envs/publication.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=0,
        disk_mb=10,
    params:
        folder=lambda wildcards, output: str(Path(output[0]).parent),
        gguf=lambda wildcards: given("--gguf", exports.gguf_names(wildcards)),
        packed=given("--packed", config["export"]["packed"]),
        base_model=exports.base_model,
        name=language_name,
        served_as=exports.served_as,
    shell:
        r"""
        python {input.script:q} \
            --adapter={input.adapter:q} \
            --folder={params.folder:q} \
            {params.gguf:q} \
            {params.packed:q} \
            --base-model={params.base_model:q} \
            --name={params.name:q} \
            --served-as={params.served_as:q} \
            --output={output:q} 2>&1 | tee {log:q}
        """
