"""The helpers of the rules that make adapters, and pages of them: settings, variants, what an adapter is made of."""

# The settings that an SFT adapter does not depend on.
NOT_SFT = {"method", "dpo", "orpo", "gpus", "fsdp", "checkpoint_minutes", "report_to"}


def find_variant(folder):
    if folder not in TUNING:
        known = ", ".join(config["variants"]) or "none"
        raise UserError(f"variants: there is no variant '{Path(folder).name}'; the configuration has: {known}")
    return TUNING[folder]


def tuning(wildcards):
    """The settings of an adapter, with what its method changes in them."""
    settings = checked(find_variant, wildcards.variant)
    method = "sft" if wildcards.stage else settings["method"]
    return settings | settings.get(method, {}) | {"method": method}


def tuning_gpus(wildcards):
    """The GPUs that an adapter is tuned on; 0 for the CPU."""
    return tuning(wildcards)["gpus"]


def on_its_gpu(wildcards):
    """One GPU, where the adapter is tuned on any."""
    return min(1, checked(find_variant, wildcards.variant)["gpus"])


def training_data(wildcards, split="train"):
    """The threads, or the preferences, that an adapter is tuned on."""
    kind = "threads" if tuning(wildcards)["method"] == "sft" else "preferences"
    return f"{wildcards.results}/{wildcards.lang}/{kind}/{split}.jsonl"


def validation_data(wildcards):
    """What the validation loss is taken on; none where it is not followed."""
    return [training_data(wildcards, "validation")] if tuning(wildcards)["validation"]["interval"] else []


def preferences_seen(wildcards):
    """The preferences that an adapter has learned from, whose questions are no held-out prompts."""
    return [] if tuning(wildcards)["method"] == "sft" else [training_data(wildcards)]


def adapter_before(wildcards):
    """The SFT adapter that DPO goes on from."""
    if tuning(wildcards)["method"] != "dpo":
        return []
    # A variant that learns what the language's own adapter did goes on from that.
    own, settings = TUNING[""], TUNING[wildcards.variant]
    same = own["method"] == "sft" and all(own[key] == settings[key] for key in own if key not in NOT_SFT)
    folder = f"{wildcards.results}/{wildcards.lang}"
    return [f"{folder}/adapter" if same else f"{folder}/{wildcards.variant}sft/adapter"]


def base_model(wildcards):
    return model_folder(tuning(wildcards)["base_model"], "base").format(**wildcards)


def template(wildcards):
    return prompt_template(tuning(wildcards)["base_model"], wildcards)


def tuning_options(wildcards):
    """The tuning settings as arguments of scripts/tune.py; those that are null are left to it."""
    values = tuning(wildcards)
    options = as_arguments(TuningSettings, values) + as_arguments(DataSettings, values)
    return options + given("--beta", [values["beta"]] if "beta" in values else [])


def tuning_memory(wildcards, attempt):
    """Each GPU's process holds the base model while it loads it."""
    return more_if_tried_again(24000 * max(1, tuning(wildcards)["gpus"]))(wildcards, attempt)


def tuning_machine(wildcards, input):
    """The settings that do not change what is learned; taking `input`, they make no adapter stale."""
    settings = tuning(wildcards)
    options = [f"--checkpoint-minutes={settings['checkpoint_minutes']}"]
    options += [f"--fsdp={settings['fsdp']}"] if settings["fsdp"] else []
    if settings["report_to"] == "tensorboard":
        folder = f"{wildcards.results}/logs/{wildcards.lang}/{wildcards.variant}{wildcards.stage}adapter.tensorboard"
        options.append(f"--tensorboard={folder}")
    return options


def evaluation_options(wildcards):
    """The evaluation's settings as arguments of scripts/evaluate.py."""
    values = config["evaluation"]
    return as_arguments(EvaluationSettings, values) + as_arguments(QuantizationSettings, values)


def preference_accounts(wildcards):
    """The accounts of the preferences, where the adapter is tuned on them."""
    if tuning(wildcards)["method"] == "sft":
        return []
    return expand("{results}/{lang}/preferences/{split}.accounting.json", split=SPLITS, **wildcards)


def changed_settings(wildcards):
    """The settings that differ from config/config.yaml's, those of a variant as the tuning's."""
    find_variant(wildcards.variant)
    settings = config | {"tuning": TUNING[wildcards.variant], "variants": {}}
    return json.dumps(configuration.differences(settings, DEFAULTS), sort_keys=True)


def built(wildcards):
    """The evaluations that are there when Snakemake starts, and what the table says beside them.

    Their paths are of a form that nothing here makes. The table is of what stands: asking for it builds nothing else.
    """
    folders = ("", "sft", "variants/*", "variants/*/sft")
    languages = [Path(wildcards.results, lang) for lang in LANGUAGES]
    found = [
        (language, evaluation.parents[1])
        for language in languages
        for folder in folders
        for evaluation in sorted(language.glob(str(Path(folder, "evaluation/metrics.json"))))
    ]
    beside = [own / name for _, own in found for name in ("adapter/training.json", "report.html")]
    beside += [
        lang / name for lang, _ in found for name in ("dataset/accounting.json", "threads/train.accounting.json")
    ]
    path = os.path.relpath if Path(wildcards.results).is_absolute() else os.path.abspath
    return {
        "metrics": [path(own / "evaluation/metrics.json") for _, own in found],
        "beside": sorted({path(file) for file in beside if file.is_file()}),
    }


def check_harness():
    if not config["evaluation"]["harness"]:
        raise UserError("evaluation.harness names no task; set it to a list such as [belebele_nld_Latn]")


def harness_tasks(wildcards):
    """The harness's tasks; those in files of the user's make the results stale when they are edited."""
    checked(check_harness)
    return checked(usable, *(task for task in config["evaluation"]["harness"] if task.endswith((".yaml", ".yml"))))


def harness_results(wildcards):
    """What the report shows of the harness, where its tasks are named."""
    folder = "{results}/{lang}/{variant}{stage}evaluation".format(**wildcards)
    return [f"{folder}/harness.json"] if config["evaluation"]["harness"] else []
