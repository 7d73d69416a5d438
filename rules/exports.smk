"""The helpers of export: which adapter is exported, and what does not go with it."""

EXPORT = config["export"]
QUANTIZATIONS = [
    name for name in SCHEMA["properties"]["export"]["properties"]["gguf"]["items"]["enum"] if name != "f16"
]
PACKED = SCHEMA["properties"]["export"]["properties"]["packed"]["items"]["enum"]
# What is made in export/ and in the folders there.
EXPORTED = {
    "": ["merged", *PACKED, "adapter.gguf", "axolotl.yaml", "unsloth_train.py", "dataset_info.json", "README.md"],
    "gguf/": ["f16.gguf", *(f"{name}.gguf" for name in QUANTIZATIONS), "Modelfile"],
    "threads/": [f"{split}.jsonl" for split in SPLITS],
    "perplexity/": ["models.json", "tokens.jsonl", *(f"{form}.json" for form in ("f16", *QUANTIZATIONS, *PACKED))],
    "conversion/": ["gguf/f16.json", "adapter.json"],
    "shapes/": [f"{form}.json" for form in (*QUANTIZATIONS, *PACKED)],
}
EXPORTED_PATHS = [re.escape(folder + name) for folder, names in EXPORTED.items() for name in names]


def exported_adapter(wildcards):
    """The final adapter, also where preferences were learned from an SFT adapter."""
    checked(find_variant, wildcards.variant)
    return "{results}/{lang}/{variant}adapter".format(**wildcards)


def exported_base_model(wildcards):
    settings = checked(find_variant, wildcards.variant)
    return model_folder(settings["base_model"], "base").format(**wildcards)


def check_merge_base(wildcards):
    quantization = find_variant(wildcards.variant)["quantization"]
    if EXPORT["merge_base"] == "dequantized" and quantization != "nf4":
        raise UserError(
            f"export.merge_base is dequantized, and the adapter's tuning.quantization is {quantization}, not nf4; set it"
            " to full"
        )
    return EXPORT["merge_base"]


def merge_base(wildcards):
    """The weights that the adapter is merged into."""
    return checked(check_merge_base, wildcards)


def check_adapter_alone(wildcards):
    if find_variant(wildcards.variant)["lora"].get("dora"):
        raise UserError(
            "export/adapter.gguf: llama.cpp lays no DoRA adapter over a model (tuning.lora.dora); export the merged"
            " model instead: export/gguf/q8_0.gguf"
        )


def converted_folder(wildcards):
    """What becomes a GGUF file: the merged model, or the adapter alone."""
    if wildcards.converted == "adapter":
        checked(check_adapter_alone, wildcards)
        return exported_adapter(wildcards)
    return rules.merge.output.merged.format(**wildcards)


def converted_over(wildcards):
    """The base model that an adapter alone is laid over."""
    return [exported_base_model(wildcards)] if wildcards.converted == "adapter" else []


def converted_targets(wildcards):
    """The layers that an adapter alone adapts, as an option."""
    if wildcards.converted != "adapter":
        return []
    targets = find_variant(wildcards.variant)["lora"]["targets"]
    return given("--lora-targets", [targets] if isinstance(targets, str) else targets)


def exported_name(wildcards):
    """What the model is called inside a GGUF file."""
    model = references.parse(find_variant(wildcards.variant)["base_model"]).name
    return f"{Path(model).name.removesuffix('.gguf')}-{wildcards.lang}"


def served_name(wildcards):
    """What the card calls the model where another program runs it."""
    return "-".join([wildcards.lang, *Path(wildcards.variant).parts[1:], "chat"])


def check_for_other_trainers(wildcards):
    method = find_variant(wildcards.variant)["method"]
    if method != "sft":
        raise UserError(
            f"export: axolotl.yaml, unsloth_train.py and dataset_info.json are of sft, and tuning.method is {method}"
        )


def exported_template(wildcards):
    """The chat template that the adapter is tuned with."""
    checked(check_for_other_trainers, wildcards)
    return prompt_template(find_variant(wildcards.variant)["base_model"], wildcards)


def exported_settings(wildcards):
    """The settings that other trainers are given."""
    unused = {"base_model", "dpo", "orpo", "fsdp", "checkpoint_minutes", "report_to"}
    settings = find_variant(wildcards.variant)
    return json.dumps({key: value for key, value in settings.items() if key not in unused}, sort_keys=True)


def named_base_model(wildcards):
    """The base model as another program finds it: by its id on the hub, or where it was fetched to."""
    reference = references.parse(find_variant(wildcards.variant)["base_model"])
    if reference.kind == "hub":
        return reference.name
    export = f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}export"
    return os.path.relpath(exported_base_model(wildcards), export)


def base_model_revision(wildcards):
    """The commit, tag or branch of a base model on the hub, where one is named."""
    reference = references.parse(find_variant(wildcards.variant)["base_model"])
    revision = reference.hub_id[1] if reference.kind == "hub" else None
    return given("--revision", [revision] if revision else [])


def gguf_names(wildcards):
    """The GGUF files of the card: those of the configuration, and the adapter alone where llama.cpp takes it."""
    taken = EXPORT["adapter_gguf"] and not find_variant(wildcards.variant)["lora"].get("dora")
    alone = ["adapter.gguf"] if taken else []
    return [*(f"gguf/{quantization}.gguf" for quantization in EXPORT["gguf"]), *alone]


def gguf_files(wildcards):
    checked(find_variant, wildcards.variant)
    return [f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}export/{name}" for name in gguf_names(wildcards)]


def for_other_trainers(wildcards):
    """The files for other trainers, which are of sft alone."""
    return rules.other_trainers.output if find_variant(wildcards.variant)["method"] == "sft" else []


def check_export(wildcards):
    """Refuse an export that there is not, and name those of its folder."""
    export = f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}export"
    folder = max((folder for folder in EXPORTED if wildcards.unknown[1:].startswith(folder)), key=len)
    there = EXPORTED[folder] + ([] if folder else [name for name in EXPORTED if name])
    raise UserError(f"unknown target {export}{wildcards.unknown}; below {export}/{folder} there are {', '.join(there)}")


def refuse_export(wildcards):
    checked(check_export, wildcards)
