"""Evaluation: how well the adapter speaks the language, compared with its base model."""


rule evaluate:
    input:
        script=own("scripts/evaluate.py"),
        library=library("evaluate"),
        after=after_split,
        adapter=rules.tune.output.adapter,
        sft_adapter=adapters.before,
        base_model=adapters.base_model,
        threads="{results}/{lang}/threads/validation.jsonl",
        dataset="{results}/{lang}/dataset/validation.parquet",
        train_threads="{results}/{lang}/threads/train.jsonl",
        train_mix=adapters.mix_seen,
        train_preferences=adapters.preferences_seen,
        prompts=evaluations.prompts,
        ggufs=evaluations.ggufs,
    output:
        metrics="{results}/{lang}/{variant}{stage}evaluation/metrics.json",
        samples="{results}/{lang}/{variant}{stage}evaluation/samples.jsonl",
        plots=[
            report(
                f"{{results}}/{{lang}}/{{variant}}{{stage}}evaluation/{plot}.svg",
                category="{lang}",
                caption="../report/captions/evaluation.rst",
                labels={"of": "{variant}{stage}adapter", "shows": shows},
            )
            for plot, shows in {
                "language": "answers in the language",
                "bits_per_byte": "held-out replies",
                "training": "losses of the training",
            }.items()
        ],
    log:
        "{results}/logs/{lang}/{variant}{stage}evaluation.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}{stage}evaluation.jsonl"
    conda:
        "../envs/evaluation.yaml"
    threads: 8
    resources:
        mem_mb=double_on_retry(24000),
        runtime=double_on_retry(60),
        gpu=adapters.one_gpu,
        gpu_model=gpu_model(adapters.one_gpu),
        disk_mb=10,
    params:
        name=language_name,
        system_prompt=system_prompt,
        sft_adapter=lambda wildcards, input: given("--sft-adapter", input.sft_adapter),
        train_mix=lambda wildcards, input: given("--train-mix", input.train_mix),
        train_preferences=lambda wildcards, input: given("--train-preferences", input.train_preferences),
        prompts=lambda wildcards, input: given("--prompts", input.prompts),
        ggufs=evaluations.gguf_options,
        options=evaluations.options,
        folder=lambda wildcards, output: str(Path(output.metrics).parent),
    shell:
        r"""
        python {input.script:q} \
            --adapter={input.adapter:q} \
            {params.sft_adapter:q} \
            --base-model={input.base_model:q} \
            --threads={input.threads:q} \
            --dataset={input.dataset:q} \
            --train-threads={input.train_threads:q} \
            {params.train_mix:q} \
            {params.train_preferences:q} \
            {params.prompts:q} \
            --target={wildcards.lang:q} \
            --name={params.name:q} \
            --system-prompt={params.system_prompt:q} \
            {params.ggufs:q} \
            {params.options:q} \
            --gpus={resources.gpu} \
            --output={params.folder:q} 2>&1 | tee {log:q}
        """


# Not by default: it downloads its tasks from the hub when it runs.
rule fetch_benchmarks:
    input:
        script=own("scripts/fetch_benchmarks.py"),
        library=library("fetch_benchmarks", without=CHANGE_NO_RESULT),
        tasks=evaluations.task_files,
    output:
        data=directory("{results}/source/benchmarks/{lang}"),
    log:
        "{results}/logs/source/benchmarks/{lang}.log",
    benchmark:
        "{results}/benchmarks/source/benchmarks/{lang}.jsonl"
    localrule: FETCH_HERE
    conda:
        "../envs/harness.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=0,
        disk_mb=500,
    params:
        tasks=evaluations.tasks,
        lock=f"{RESULTS}/models/lock.json",
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script:q} \
            {params.tasks:q} \
            --lock={params.lock:q} \
            --output={output.data:q} 2>&1 | tee {log:q}
        """


rule harness:
    input:
        script=own("scripts/harness.py"),
        library=library("harness"),
        tasks=evaluations.task_files,
        data=rules.fetch_benchmarks.output.data,
        after=after_split,
        adapter=rules.tune.output.adapter,
        base_model=adapters.base_model,
    output:
        "{results}/{lang}/{variant}{stage}evaluation/harness.json",
    log:
        "{results}/logs/{lang}/{variant}{stage}harness.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}{stage}harness.jsonl"
    conda:
        "../envs/harness.yaml"
    threads: 8
    resources:
        mem_mb=double_on_retry(24000),
        runtime=double_on_retry(240),
        gpu=adapters.one_gpu,
        gpu_model=gpu_model(adapters.one_gpu),
        disk_mb=1000,
    params:
        tasks=evaluations.tasks,
        known=evaluations.known,
        limit=given("--limit", filter(None, [config["evaluation"]["harness_limit"]])),
        quantization=config["evaluation"]["quantization"],
        seed=config["evaluation"]["seed"],
    shell:
        r"""
        python {input.script:q} \
            --adapter={input.adapter:q} \
            --base-model={input.base_model:q} \
            --quantization={params.quantization:q} \
            {params.tasks:q} \
            {params.known:q} \
            --data={input.data:q} \
            {params.limit:q} \
            --seed={params.seed} \
            --gpus={resources.gpu} \
            --output={output:q} 2>&1 | tee {log:q}
        """


# Not by default: it asks the endpoint that is configured.
rule judge:
    input:
        script=own("scripts/judge.py"),
        library=library("judge"),
        after=after_split,
        model=judging.model,
        samples=rules.evaluate.output.samples,
        others=judging.others,
        dataset=[f"{{results}}/{{lang}}/dataset/{split}.parquet" for split in SPLITS],
        votes=votes_of,
        adapter=judging.adapter,
    output:
        "{results}/{lang}/{variant}{stage}evaluation/judge.json",
    log:
        "{results}/logs/{lang}/{variant}{stage}judge.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}{stage}judge.jsonl"
    conda:
        f"../envs/{judging.environment}.yaml"
    threads: lambda wildcards: 4 if "judge" in endpoints and endpoints["judge"].keys["serve"] else 1
    resources:
        mem_mb=double_on_retry(judging.memory_mb),
        runtime=double_on_retry(240),
        gpu=judging.gpus,
        gpu_model=gpu_model(judging.gpus),
        disk_mb=5,
    params:
        name=language_name,
        others=judging.against,
        dataset=lambda wildcards, input: given("--dataset", input.dataset),
        votes=lambda wildcards, input: given("--votes", input.votes),
        adapter=lambda wildcards, input: given("--adapter", input.adapter),
        options=judging.options,
        endpoint=lambda wildcards, input: judging.endpoint(wildcards),
        secrets=lambda wildcards, input: judging.secrets(wildcards),
    shell:
        r"""
        {params.secrets} python {input.script:q} \
            --samples={input.samples:q} \
            {params.others:q} \
            {params.dataset:q} \
            --target={wildcards.lang:q} \
            --name={params.name:q} \
            --model={input.model:q} \
            {params.votes:q} \
            {params.adapter:q} \
            {params.options:q} \
            {params.endpoint:q} \
            --workers={threads} \
            --gpus={resources.gpu} \
            --output={output:q} 2>&1 | tee {log:q}
        """
