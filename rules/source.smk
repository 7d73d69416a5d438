"""The source dataset: fetched whole, then split into shards by source language and tree."""


rule fetch:
    input:
        script="scripts/fetch.py",
        library=library("fetch", without=CHANGE_NO_RESULT),
        # The English names of languages: an edit of the table does not fetch again.
        languages=ancient("config/languages.tsv"),
        files=[path for paths in SOURCE_FILES.values() for path in paths],
    output:
        messages="{results}/source/messages.parquet",
        record="{results}/source/fetched.json",
    log:
        "{results}/logs/source/messages.log",
    benchmark:
        "{results}/benchmarks/source/messages.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=0,
        disk_mb=200,
    params:
        dataset=literal(checked(configuration.fetch_arguments, config, bool(SOURCE_FILES))),
        form=as_arguments(FormatSettings, config["source"]),
        validation=config["source"]["validation"],
        limits=as_arguments(LimitSettings, config["source"]),
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script} \
            {params.dataset:q} \
            --languages={input.languages:q} \
            {params.form:q} \
            --validation={params.validation} \
            {params.limits:q} \
            --record={output.record:q} \
            --output={output.messages:q} 2>&1 | tee {log:q}
        """


# A checkpoint, so that later jobs compare shards by checksum: only shards whose bytes changed are translated again.
checkpoint split:
    input:
        script="scripts/split.py",
        library=library("split"),
        messages=rules.fetch.output.messages,
        fetched=rules.fetch.output.record,
    output:
        shards=expand("{{results}}/source/shards/{shard}.parquet", shard=SHARD_NAMES),
        counts="{results}/source/counts.json",
    log:
        "{results}/logs/source/shards.log",
    benchmark:
        "{results}/benchmarks/source/shards.jsonl"
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        gpu=0,
        disk_mb=200,
    params:
        shards=given("--shards", [f"{language}={count}" for language, count in SHARDS.items()]),
        # Only with this scope does another choice of threads need other shards.
        scope=given("--only-threads", [config["threads"]["select"]] if config["source"]["scope"] == "threads" else []),
        folder=lambda wildcards: f"{wildcards.results}/source/shards",
    shell:
        r"""
        python {input.script} \
            --messages={input.messages:q} \
            {params.shards:q} \
            {params.scope:q} \
            --fetched={input.fetched:q} \
            --counts={output.counts:q} \
            --output={params.folder:q} 2>&1 | tee {log:q}
        """
