"""The card of a merged model."""

from collections.abc import Mapping
from typing import Any

from mothertongue.cards import answer, render, stated_licences, teachers
from mothertongue.common import licences
from mothertongue.models.record import base_name


def card(record: Mapping[str, Any], name: str, merge_base: str, form: str | None = None) -> str:
    """Return the card of the merged model, or of the model packed from it (`form` gptq or awq)."""
    base, taught = record["base_model"], record.get("teachers", {})
    model = base_name(base)
    header = {
        **render.languages(record["lang"]),
        "base_model": base["hub_id"],
        "base_model_relation": "finetune" if base["hub_id"] else None,
        **licences.header([base["licence"], *taught.values()], one=bool(taught)),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["mothertongue", record["settings"]["method"]],
    }
    return render.card(
        "merged_model",
        header=header,
        model=model,
        revision=base["revision"],
        name=name,
        merge_base=merge_base,
        form=form,
        **teachers.values(taught),
        stated=stated_licences.of_taught(model, base["licence"], taught),
        **answer.values(record),
    )
