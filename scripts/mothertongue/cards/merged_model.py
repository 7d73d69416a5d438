"""The card of a merged model."""

from collections.abc import Mapping
from typing import Any

from mothertongue.cards import render
from mothertongue.common import licences
from mothertongue.models.record import base_name

_WEIGHTS = {
    "full": "The adapter is folded into the weights of the base model as they were fetched.",
    "dequantized": "The adapter is folded into the base model's weights as its training saw them: in nf4, and back.",
}
_PACKED = (
    "The weights of its linear layers are then rounded to 4 bits by AutoRound, on the threads that the adapter was"
    " trained with, and packed in the format of {}."
)
_IN_PYTHON = render.python(
    "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "",
    "model = AutoModelForCausalLM.from_pretrained(FOLDER)",
    "tokenizer = AutoTokenizer.from_pretrained(FOLDER)",
)


def card(record: Mapping[str, Any], name: str, merge_base: str, form: str | None = None) -> str:
    """The card of the merged model, or of what it is packed into: gptq or awq."""
    packed = [_PACKED.format(form.upper())] if form else []
    base, model = record["base_model"], base_name(record["base_model"])
    header = {
        **render.languages(record["lang"]),
        "base_model": base["hub_id"],
        "base_model_relation": "finetune" if base["hub_id"] else None,
        **licences.header([base["licence"]]),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["mothertongue", record["settings"]["method"]],
    }
    return "\n".join(
        [
            *render.header(header),
            "",
            f"# {render.markdown(f'{model}, answering in {name}')}",
            "",
            render.markdown(
                f"{model} (revision {base['revision']}) with a LoRA adapter, made by Mothertongue, that teaches it to "
                f"answer in {name}. {' '.join([_WEIGHTS[merge_base], *packed])}"
            ),
            "",
            *(render.shell("vllm serve FOLDER") if form else _IN_PYTHON),
            "",
            "It was trained with this system prompt:",
            "",
            *render.quoted(record["system_prompt"]),
            "",
            "fetched.json has the checksum of every file.",
            "",
        ]
    )
