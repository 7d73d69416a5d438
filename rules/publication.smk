"""Publication: a dataset, its threads and adapters on the hub, with what shows what they are worth."""

PUBLICATION = config["publication"]
SOURCE_NAME = publication.short_name(configuration.dataset_name(config).split(", ")[0])


def check_publication(wildcards):
    """Refuse what cannot be published before anything is built for it."""
    if wildcards.variant and wildcards.kind != "adapter":
        raise UserError(f"{wildcards.variant}published: a variant has an adapter of its own, and no {wildcards.kind}")
    publication.check_namespace(PUBLICATION["namespace"])
    if workflow.executor_plugin and not workflow.dryrun:
        publication.check_token()


def what_is_published(wildcards):
    """The files that are published; of an adapter its evaluation too."""
    checked(check_publication, wildcards)
    produced = {
        "dataset": rules.combine.output,
        "threads": expand(list(rules.threads.output), split=("train", "validation"), allow_missing=True),
        "adapter": [*rules.tune.output, *rules.evaluate.output],
    }
    return [path.format(**wildcards, stage="") for path in produced[wildcards.kind]]


def published_dataset(wildcards):
    """Where the dataset goes."""
    return f"{PUBLICATION['namespace']}/{publication.repository_name(SOURCE_NAME)}_{wildcards.lang}"


def published_repository(wildcards):
    """Where it goes."""
    if wildcards.kind == "adapter":
        bases = {Path(folder).name: settings["base_model"] for folder, settings in TUNING.items()}
        name = publication.adapter_names(bases, wildcards.lang)[Path(wildcards.variant).name]
        return f"{PUBLICATION['namespace']}/{name}"
    return published_dataset(wildcards) + ("_threads" if wildcards.kind == "threads" else "")


def published_beside(wildcards):
    """What threads and an adapter say of the dataset that they are made from, and an adapter's evaluation."""
    folder = f"{wildcards.results}/{wildcards.lang}"
    options = [f"--dataset-card={folder}/dataset/README.md", f"--dataset-repo={published_dataset(wildcards)}"]
    if wildcards.kind == "adapter":
        options.append(f"--evaluation={folder}/{wildcards.variant}evaluation")
    return [] if wildcards.kind == "dataset" else options


rule publish:
    input:
        script="scripts/publish.py",
        library=library(
            "adapter_card",
            "cards",
            "dataset_card",
            "errors",
            "evaluation_tables",
            "fetching",
            "files",
            "licences",
            "progress",
            "publication",
            "published_files",
            "references",
            "sides",
            "source_files",
            "threads_card",
        ),
        after=once_split,
        published=what_is_published,
        dataset_card="{results}/{lang}/dataset/README.md",
    output:
        "{results}/{lang}/{variant}published/{kind}.json",
    log:
        "{results}/logs/{lang}/{variant}published/{kind}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}published/{kind}.jsonl"
    wildcard_constraints:
        kind="dataset|threads|adapter",
    localrule: True
    conda:
        "../envs/publication.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        disk_mb=10,
    params:
        folder=lambda wildcards: f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}{wildcards.kind}",
        repository=published_repository,
        name=language_name,
        beside=published_beside,
        visibility=[] if PUBLICATION["private"] else ["--public"],
    shell:
        r"""
        HF_HUB_OFFLINE=0 python {input.script} {wildcards.kind} \
            --folder {params.folder:q} \
            --repo {params.repository:q} \
            --target {wildcards.lang:q} \
            --name {params.name:q} \
            {params.beside:q} \
            {params.visibility:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """
