"""The mapping from the weights in a model's files to the parameters of the loaded model.

transformers renames weights while loading, and stacks those of a mixture's experts into one parameter.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WeightPlace:
    """The parameter of a weight; where it is a stack of experts, also the expert and the weight's first row."""

    parameter: str
    expert: int = 0
    row: int = 0


def places(model: Any, shapes: Mapping[str, Sequence[int]]) -> dict[str, WeightPlace]:
    """Return the place of each weight of a model's files, from their shapes by name; `model` may be without values.

    Leave out weights that transformers converts other than by stacking.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

    conversions = get_model_conversion_mapping(model)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    converters = [one for one in conversions if isinstance(one, WeightConverter)]
    parameters = model.state_dict()
    found: dict[str, WeightPlace] = {}
    parts: dict[tuple[str, str], list[str]] = defaultdict(list)
    # The order in which transformers stacks them.
    for name in sorted(shapes, key=dot_natural_key):
        parameter, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, parameters)
        if pattern is None:
            found[name] = WeightPlace(parameter)
        else:
            parts[parameter, pattern].append(name)
    for stack in filter(_stacks, converters):
        for parameter in {parameter for parameter, pattern in parts if pattern in stack.source_patterns}:
            row = 0
            for names in (parts[parameter, pattern] for pattern in stack.source_patterns):
                found |= {name: WeightPlace(parameter, expert, row) for expert, name in enumerate(names)}
                row += shapes[names[0]][0] if names else 0
    return found


def _stacks(converter: Any) -> bool:
    """Return whether a converter only stacks experts and concatenates the rows of their matrices."""
    done = [
        (type(operation).__name__, operation.dim) for operation in converter.operations if hasattr(operation, "dim")
    ]
    plain = [("MergeModulelist", 0), ("Concatenate", 1)]
    return len(done) == len(converter.operations) and done in (plain, plain[:1])
