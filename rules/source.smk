"""The source dataset: fetched whole, then split into shards by source language and tree."""


rule fetch:
    input:
        script=own("scripts/fetch.py"),
        library=library("fetch", without=CHANGE_NO_RESULT),
        files=files_of_source,
    output:
        messages="{results}/source/{origin}messages.parquet",
        record="{results}/source/{origin}fetched.json",
    log:
        "{results}/logs/source/{origin}messages.log",
    benchmark:
        "{results}/benchmarks/source/{origin}messages.jsonl"
    localrule: FETCH_HERE
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=0,
        disk_mb=200,
    params:
        dataset=lambda wildcards: sources.of(wildcards).fetch_arguments(),
        # With `input` Snakemake does not compare it: another table of languages does not fetch again.
        languages=lambda wildcards, input: found("config/languages.tsv"),
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script:q} \
            {params.dataset:q} \
            --languages={params.languages:q} \
            --record={output.record:q} \
            --output={output.messages:q} 2>&1 | tee {log:q}
        """


# A checkpoint, so that later jobs compare shards by checksum: only shards whose bytes changed are translated again.
checkpoint split:
    input:
        script=own("scripts/split.py"),
        library=library("split"),
        messages=[f"{{results}}/source/{source.prefix}messages.parquet" for source in sources],
        fetched=FETCHED,
    output:
        shards=expand("{{results}}/source/shards/{shard}.parquet", shard=sources.shard_names),
        counts="{results}/source/counts.json",
        duplicates=["{results}/source/duplicates.jsonl"] if config["duplicates"] else [],
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
        names=given("--names", [source.name for source in sources if source.name]),
        shards=given(
            "--shards",
            [f"{source.prefix}{language}={count}" for source in sources for language, count in source.shards.items()],
        ),
        # Only with this scope does another choice of threads need other shards.
        scope=given(
            "--only-threads",
            [
                f"{source.prefix}{config['threads']['select']}"
                for source in sources
                if source.keys["scope"] == "threads"
            ],
        ),
        duplicates=[f"--duplicates={config['duplicates']['threshold']:g}"] if config["duplicates"] else [],
        keep=given("--keep", [config["duplicates"].get("keep", "best")]) if config["duplicates"] else [],
        duplicates_list=lambda wildcards, output: given("--duplicates-list", output.duplicates),
        folder=lambda wildcards, output: str(Path(output.counts).parent / "shards"),
    shell:
        r"""
        python {input.script:q} \
            --messages {input.messages:q} \
            {params.names:q} \
            {params.shards:q} \
            {params.scope:q} \
            {params.duplicates:q} \
            {params.keep:q} \
            {params.duplicates_list:q} \
            --fetched {input.fetched:q} \
            --counts={output.counts:q} \
            --output={params.folder:q} 2>&1 | tee {log:q}
        """


SPLIT = snakemake_internals.find_checkpoint(checkpoints, "split", RESULTS)
