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
            "training_plot",
            "trees",
        ),
        after=once_split,
        adapter=rules.tune.output.adapter,
        base_model=base_model,
        threads="{results}/{lang}/threads/validation.jsonl",
        prompts=evaluation_prompts,
    output:
        metrics="{results}/{lang}/{variant}{stage}evaluation/metrics.json",
        samples="{results}/{lang}/{variant}{stage}evaluation/samples.jsonl",
        plots=expand("{{results}}/{{lang}}/{{variant}}{{stage}}evaluation/{plot}.svg", plot=("language", "training")),
    log:
        "{results}/logs/{lang}/{variant}{stage}evaluation.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}{stage}evaluation.jsonl"
    conda:
        "../envs/evaluation.yaml"
    threads: 8
    resources:
        mem_mb=more_if_tried_again(24000),
        runtime=more_if_tried_again(60),
        gpu=lambda wildcards: min(1, tuning(wildcards)["gpus"]),
        disk_mb=10,
    params:
        name=language_name,
        prompts=lambda wildcards, input: ["--prompts", *input.prompts] if input.prompts else [],
        prompts_count=config["evaluation"]["prompts"],
        max_new_tokens=config["evaluation"]["max_new_tokens"],
        system_prompt=system_prompt,
        folder=lambda wildcards, output: str(Path(output.metrics).parent),
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
