"""Export: the adapter in the forms that other programs run, each measured on the held-out threads."""


rule merge:
    input:
        script="scripts/merge.py",
        library=library(
            "adapter_card",
            "cards",
            "causal",
            "errors",
            "evaluation_tables",
            "fetching",
            "files",
            "hub",
            "licences",
            "lora",
            "merged_model",
            "merging",
            "progress",
            "references",
            "sides",
            "weight_files",
        ),
        after=once_split,
        adapter=exported_adapter,
        base_model=exported_base_model,
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
        mem_mb=more_if_tried_again(8000),
        runtime=more_if_tried_again(60),
        disk_mb=15000,
    params:
        name=language_name,
        merge_base=merge_base,
    shell:
        r"""
        python {input.script} \
            --adapter {input.adapter:q} \
            --base-model {input.base_model:q} \
            --merge-base {params.merge_base:q} \
            --name {params.name:q} \
            --output {output.merged:q} 2>&1 | tee {log:q}
        """


rule perplexity:
    input:
        script="scripts/perplexity.py",
        library=library(
            "arguments",
            "causal",
            "errors",
            "evaluated",
            "fetching",
            "files",
            "gpus",
            "hub",
            "lora",
            "merging",
            "perplexity",
            "progress",
            "prompts",
            "references",
            "threads_file",
            "trees",
            "weight_files",
        ),
        after=once_split,
        adapter=exported_adapter,
        base_model=exported_base_model,
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
        mem_mb=more_if_tried_again(24000),
        runtime=more_if_tried_again(60),
        gpu=lambda wildcards: min(1, checked(find_variant, wildcards.variant)["gpus"]),
        disk_mb=15000,
    params:
        most=config["evaluation"]["threads"],
    shell:
        r"""
        python {input.script} \
            --adapter {input.adapter:q} \
            --base-model {input.base_model:q} \
            --merged {input.merged:q} \
            --threads {input.threads:q} \
            --count {params.most} \
            --gpus {resources.gpu} \
            --tokens {output.tokens:q} \
            --output {output.models:q} 2>&1 | tee {log:q}
        """
