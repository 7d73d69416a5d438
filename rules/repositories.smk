"""The helpers of publication: what goes into which repository of the hub."""

PUBLICATION = config["publication"]
SOURCES = {split: os.path.abspath(path) for split, path in SOURCE_FILES.items()}
SOURCE_NAME = PUBLICATION["name"] or upload.short_name(next(iter(SOURCES.values()), configuration.dataset_name(config)))


def check_publication(wildcards):
    """Refuse what cannot be published before anything is built for it."""
    if wildcards.variant and wildcards.kind != "adapter":
        raise UserError(f"{wildcards.variant}published: a variant has an adapter of its own, and no {wildcards.kind}")
    find_variant(wildcards.variant)
    upload.check_namespace(PUBLICATION["namespace"])
    if snakemake_internals.runs_jobs(workflow):
        upload.check_token()


def what_is_published(wildcards):
    """The files that are published; of an adapter its evaluation too."""
    checked(check_publication, wildcards)
    harness = rules.harness.output if config["evaluation"]["harness"] else []
    produced = {
        "dataset": rules.combine.output,
        "threads": expand(list(rules.threads.output), split=("train", "validation"), allow_missing=True),
        "adapter": [*rules.tune.output, *rules.evaluate.output, *harness],
    }
    return [path.format(**wildcards, stage="") for path in produced[wildcards.kind]]


def published_dataset(wildcards):
    """Where the dataset goes."""
    name = upload.repository_name(SOURCE_NAME)[:64] or "messages"
    return f"{PUBLICATION['namespace']}/{name}_{wildcards.lang}"


def published_repository(wildcards):
    """Where it goes."""
    if wildcards.kind == "adapter":
        bases = {Path(folder).name: settings["base_model"] for folder, settings in TUNING.items()}
        names = checked(upload.adapter_names, bases, wildcards.lang, PUBLICATION["name"] or "")
        return f"{PUBLICATION['namespace']}/{names[Path(wildcards.variant).name]}"
    return published_dataset(wildcards) + ("_threads" if wildcards.kind == "threads" else "")


def published_of(wildcards):
    """What stands for the data and the model that it is made from: two of one name share no repository."""
    sources = list(SOURCES.values()) or [configuration.dataset_name(config)]
    if wildcards.kind == "adapter":
        model = find_variant(wildcards.variant)["base_model"]
        local = local_model_files(model)
        sources += [os.path.abspath(Path(model).expanduser()) if local else references.parse(model).name]
        sources += [Path(wildcards.variant).name]
    return "|".join(sources)


def published_beside(wildcards):
    """What threads and an adapter say of the dataset that they are made from, and an adapter's evaluation."""
    folder = f"{wildcards.results}/{wildcards.lang}"
    options = [f"--dataset-card={folder}/dataset/README.md", f"--dataset-repo={published_dataset(wildcards)}"]
    if wildcards.kind == "adapter":
        options.append(f"--evaluation={folder}/{wildcards.variant}evaluation")
    return [] if wildcards.kind == "dataset" else options
