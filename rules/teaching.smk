"""A teacher: a chat model on a server answers in the target language what users wrote, where `answers` is teacher."""


rule answer:
    input:
        script=own("scripts/answer.py"),
        library=library("answer", without=CHANGE_NO_RESULT),
        after=after_split,
        shard="{results}/{lang}/translated/{origin}{source}/{shard}.parquet",
        model=teacher.model,
    output:
        "{results}/{lang}/answered/{origin}{source}/{shard}.parquet",
    log:
        "{results}/logs/{lang}/answered/{origin}{source}/{shard}.log",
    benchmark:
        "{results}/benchmarks/{lang}/answered/{origin}{source}/{shard}.jsonl"
    conda:
        f"../envs/{teacher.environment}.yaml"
    threads: teacher.threads
    resources:
        mem_mb=double_on_retry(teacher.memory_mb),
        runtime=double_on_retry(240),
        gpu=teacher.gpus,
        gpu_model=gpu_model(teacher.gpus),
        disk_mb=50,
    params:
        name=language_name,
        model=teacher.model_options,
        options=teacher.options,
        endpoint=lambda wildcards, input: teacher.endpoint(wildcards, RESULTS),
        secrets=lambda wildcards, input: teacher.secrets(wildcards),
    shell:
        r"""
        {params.secrets} python {input.script:q} \
            --shard={input.shard:q} \
            --target={wildcards.lang:q} \
            --name={params.name:q} \
            {params.model:q} \
            {params.options:q} \
            {params.endpoint:q} \
            --workers={threads} \
            --gpus={resources.gpu} \
            --output={output:q} 2>&1 | tee {log:q}
        """
