"""Publication: a dataset, its threads, preferences and adapters on the hub, with their quality reports and evaluations."""


rule publish:
    input:
        script=own("scripts/publish.py"),
        library=library("publish"),
        after=after_split,
        published=what_is_published,
        dataset_card="{results}/{lang}/dataset/README.md",
    output:
        "{results}/{lang}/{variant}published/{kind}.json",
    log:
        "{results}/logs/{lang}/{variant}published/{kind}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}published/{kind}.jsonl"
    wildcard_constraints:
        kind="dataset|threads|preferences|adapter",
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
        folder=lambda wildcards: f"{RESULTS}/{wildcards.lang}/{wildcards.variant}{wildcards.kind}",
        repository=repositories.name,
        name=language_name,
        beside=lambda wildcards: repositories.beside(wildcards, RESULTS),
        made_from=repositories.made_from,
        switches=[
            *([] if config["publication"]["private"] else ["--public"]),
            *(["--existing"] if config["publication"]["existing"] else []),
        ],
    shell:
        r"""
        HF_HUB_OFFLINE=0 HF_TOKEN=$hub_token python {input.script:q} {wildcards.kind} \
            --folder={params.folder:q} \
            --repo={params.repository:q} \
            --target={wildcards.lang:q} \
            --name={params.name:q} \
            {params.beside:q} \
            --made-from={params.made_from:q} \
            {params.switches:q} \
            --output={output:q} 2>&1 | tee {log:q}
        """
