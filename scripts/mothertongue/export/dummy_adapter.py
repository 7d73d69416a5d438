"""An untrained adapter of a base model, to check in advance what is later done with trained ones."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from mothertongue.common.errors import UserError
from mothertongue.model_folders.reading import skeleton


def write(base: Path, targets: Sequence[str], folder: Path) -> None:
    """Write an adapter of rank 1 for the layers that tuning would adapt, without loading the base model's weights.

    Raise UserError where the base model has no such layers.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file

    target_modules = "all-linear" if list(targets) == ["all-linear"] else list(targets)
    config = LoraConfig(r=1, target_modules=target_modules, task_type="CAUSAL_LM")
    try:
        with warnings.catch_warnings():
            # The programs that read the adapter refuse what matters among PEFT's warnings.
            warnings.simplefilter("ignore")
            model = get_peft_model(skeleton(base), config)
    except ValueError as error:
        raise UserError(f"tuning.lora.targets {', '.join(targets)}: {error}") from None
    weights = {name: torch.zeros(weight.shape) for name, weight in get_peft_model_state_dict(model).items()}
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    model.peft_config["default"].save_pretrained(str(folder))
