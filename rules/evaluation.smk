"""Evaluation: does the adapter speak the language, beside its base model?"""


rule evaluate:
    input:
        script="scripts/evaluate.py",
        library=library(
            "causal",
            "errors",
            "evaluation",
            "files",
            "gpus",
            "language_id",
            "languages",
            "progress",
            "prompts",
            "threads_file",
            "trees",
        ),
        after=once_split,
        adapter=rules.tune.output.adapter,
        base_model=model_folder(BASE_MODEL, "base"),
        threads="{results}/{lang}/threads/validation.jsonl",
        prompts=evaluation_prompts,
    output:
        metrics="{results}/{lang}/evaluation/metrics.json",
        samples="{results}/{lang}/evaluation/samples.jsonl",
        plot="{results}/{lang}/evaluation/language.svg",
    log:
        "{results}/logs/{lang}/evaluation.log",
    benchmark:
        "{results}/benchmarks/{lang}/evaluation.jsonl"
    conda:
        "../envs/evaluation.yaml"
    threads: 8
    resources:
        mem_mb=more_if_tried_again(24000),
        runtime=more_if_tried_again(60),
        gpu=min(1, config["tuning"]["gpus"]),
        disk_mb=10,
    params:
        name=language_name,
        prompts=lambda wildcards, input: ["--prompts", *input.prompts] if input.prompts else [],
        prompts_count=config["evaluation"]["prompts"],
        max_new_tokens=config["evaluation"]["max_new_tokens"],
        system_prompt=system_prompt,
        folder=lambda wildcards: f"{wildcards.results}/{wildcards.lang}/evaluation",
    shell:
        r"""
        python {input.script} \
            --adapter {input.adapter:q} \
            --base-model {input.base_model:q} \
            --threads {input.threads:q} \
            {params.prompts:q} \
            --count {params.prompts_count} \
            --target {wildcards.lang:q} \
            --name {params.name:q} \
            --system-prompt {params.system_prompt:q} \
            --max-new-tokens {params.max_new_tokens} \
            --gpus {resources.gpu} \
            --output {params.folder:q} 2>&1 | tee {log:q}
        """
