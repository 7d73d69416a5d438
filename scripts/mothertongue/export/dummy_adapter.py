"""An adapter of a base model in which nothing is learned, to try on it what will be done with those that are."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from mothertongue.common.errors import UserError
from mothertongue.model_folders.reading import skeleton


def write(base: Path, targets: Sequence[str], folder: Path) -> None:
    """Write an adapter of rank 1 with the layers that tuning would adapt, without loading the base model's weights.

    Raises UserError where the base model has no such layers.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file

    target_modules = "all-linear" if list(targets) == ["all-linear"] else list(targets)
    config = LoraConfig(r=1, target_modules=target_modules, task_type="CAUSAL_LM")
    try:
        with warnings.catch_warnings():
            # Of what PEFT finds strange, what matters is refused by those that are given the adapter.
            warnings.simplefilter("ignore")
            model = get_peft_model(skeleton(base), config)
    except ValueError as error:
        raise UserError(f"tuning.lora.targets {', '.join(targets)}: {error}") from None
    weights = {name: torch.zeros(weight.shape) for name, weight in get_peft_model_state_dict(model).items()}
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    model.peft_config["default"].save_pretrained(str(folder))
