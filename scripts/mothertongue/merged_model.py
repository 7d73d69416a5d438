"""What is said of a merged model: its card, and the record of what it is made of."""

from collections.abc import Mapping
from typing import Any

from mothertongue import cards, licences
from mothertongue.errors import UserError
from mothertongue.record import base_name

# What is asked of an adapter's training.json.
NEEDED = (
    "lang", "system_prompt", "settings.method", "base_model.reference", "base_model.revision", "base_model.licence",
    "base_model.hub_id",
)  # fmt: skip
_WEIGHTS = {
    "full": "The adapter is folded into the weights of the base model as they were fetched.",
    "dequantized": "The adapter is folded into the base model's weights as its training saw them: in nf4, and back.",
}
_PACKED = (
    "The weights of its linear layers are then rounded to 4 bits by AutoRound, on the threads that the adapter was"
    " trained with, and packed in the format of {}."
)
_IN_PYTHON = cards.python(
    "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "",
    "model = AutoModelForCausalLM.from_pretrained(FOLDER)",
    "tokenizer = AutoTokenizer.from_pretrained(FOLDER)",
)


def check(record: Mapping[str, Any], merge_base: str) -> None:
    """Raise UserError where the choice of weights to merge into means nothing for an adapter."""
    quantization = record["settings"]["quantization"]
    if merge_base == "dequantized" and quantization != "nf4":
        raise UserError(
            f"export.merge_base is dequantized, and the adapter was trained with quantization {quantization}, not nf4;"
            " set it to full"
        )


def described(record: Mapping[str, Any], merge_base: str) -> str:
    """The merged model in a few words."""
    base = record["base_model"]
    return f"{base_name(base)}@{base['revision']} ({merge_base}) with the {record['lang']} adapter"


def card(record: Mapping[str, Any], name: str, merge_base: str, form: str | None = None) -> str:
    """The card of the merged model, or of what it is packed into: gptq or awq."""
    packed = [_PACKED.format(form.upper())] if form else []
    base, model = record["base_model"], base_name(record["base_model"])
    header = {
        **cards.languages(record["lang"]),
        "base_model": base["hub_id"],
        "base_model_relation": "finetune" if base["hub_id"] else None,
        **licences.header([base["licence"]]),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["mothertongue", record["settings"]["method"]],
    }
    return "\n".join(
        [
            *cards.header(header),
            "",
            f"# {cards.markdown(f'{model}, answering in {name}')}",
            "",
            cards.markdown(
                f"{model} (revision {base['revision']}) with a LoRA adapter, made by Mothertongue, that teaches it to "
                f"answer in {name}. {' '.join([_WEIGHTS[merge_base], *packed])}"
            ),
            "",
            *(cards.shell("vllm serve FOLDER") if form else _IN_PYTHON),
            "",
            "It was trained with this system prompt:",
            "",
            *cards.quoted(record["system_prompt"]),
            "",
            "fetched.json has the checksum of every file.",
            "",
        ]
    )
