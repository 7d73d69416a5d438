"""The helpers of export: which adapter is exported, and what does not go with it."""

EXPORT = config["export"]


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
