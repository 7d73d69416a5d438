"""The sides that an evaluation compares: which model answers, with what before the question, and how it is drawn.

A side has one colour and one hatch in every picture; they differ in lightness too, for print without colours.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """One side: `model` is base, sft or adapter; `examples` and `system_prompt` say what stands before the question."""

    name: str
    label: str
    model: str
    system_prompt: bool
    examples: bool
    colour: str
    hatch: str


SYSTEMS = (
    System("base", "base model", "base", False, False, "#e3e3e3", ""),
    System("base_system_prompt", "base + system prompt", "base", True, False, "#e3e3e3", "///"),
    System("base_few_shot", "base + examples", "base", False, True, "#e3e3e3", "..."),
    System("sft", "SFT adapter", "sft", False, False, "#e0a458", ""),
    System("sft_system_prompt", "SFT adapter + system prompt", "sft", True, False, "#e0a458", "///"),
    System("adapter", "adapter", "adapter", False, False, "#4c9bb8", ""),
    System("adapter_system_prompt", "adapter + system prompt", "adapter", True, False, "#4c9bb8", "///"),
)
BY_NAME = {side.name: side for side in SYSTEMS}


def of_models(models: Collection[str]) -> list[System]:
    """The sides of the models at hand, in order."""
    return [side for side in SYSTEMS if side.model in models]
