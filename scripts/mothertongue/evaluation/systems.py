"""The systems that an evaluation compares: a model, the prompt before the question, and the style in plots.

A system has the same colour and hatch in every plot; colours differ in lightness too, for greyscale print.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """A system: `model` is base, sft or adapter; `system_prompt` and `examples` (few-shot) precede the question."""

    name: str
    label: str
    model: str
    system_prompt: bool
    examples: bool
    colour: str
    hatch: str

    @property
    def is_plain(self) -> bool:
        """Whether only the question is asked, without system prompt and examples."""
        return not self.system_prompt and not self.examples


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
# The pairs whose differences are measured: first minus second.
_COMPARED = (
    ("adapter", "base"),
    ("adapter_system_prompt", "base_system_prompt"),
    ("adapter", "base_system_prompt"),
    ("adapter", "base_few_shot"),
    ("adapter", "sft"),
    ("adapter_system_prompt", "sft_system_prompt"),
    ("sft", "base"),
    ("sft_system_prompt", "base_system_prompt"),
)


def of_models(models: Collection[str]) -> list[System]:
    """Return the systems of the given models, in order."""
    return [side for side in SYSTEMS if side.model in models]


def compared(sides: Collection[str]) -> list[tuple[System, System]]:
    """Return the pairs of the given systems whose differences are measured: of the first to the second."""
    return [(BY_NAME[one], BY_NAME[other]) for one, other in _COMPARED if one in sides and other in sides]
