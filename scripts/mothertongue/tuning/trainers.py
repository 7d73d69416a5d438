"""TRL's trainers by method, on tokenized data, so that TRL applies no template and no truncation of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from mothertongue.models import causal_lm
from mothertongue.tuning import cpu_kernels
from mothertongue.tuning.data import Tokenized

disable_progress_bars()

OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}


def build(
    settings: Any,
    model: Any,
    tokenizer: Any,
    data: Tokenized,
    validation: Tokenized,
    arguments: Mapping[str, Any],
    callbacks: Sequence[TrainerCallback],
    optimizer: Any = None,
) -> Trainer:
    """Return the method's trainer for a model with an adapter, on tokenized data; `validation` is empty for none.

    `settings` are TuningSettings; `arguments` are TrainingArguments that override those derived from them.
    """
    both = {**shared(settings), **arguments}
    common: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_list(data.rows()),
        "eval_dataset": Dataset.from_list(validation.rows()) if validation.data else None,
        "processing_class": tokenizer,
        "callbacks": list(callbacks),
        "optimizers": (optimizer, None),
    }
    if settings.method == "sft":
        packing = {"packing": settings.packing, "packing_strategy": "bfd", "eval_packing": settings.packing}
        trainer: Trainer = SFTTrainer(args=SFTConfig(**both, **packing), **common)
        _speed_up(model.get_base_model(), settings.packing)
    elif settings.method == "dpo":
        trainer = _Dpo(args=DPOConfig(**both, beta=settings.beta), **common)
    else:
        trainer = _orpo(common, both | {"beta": settings.beta, "remove_unused_columns": False})
    trainer.remove_callback(PrinterCallback)
    _widen(model)
    return trainer


def shared(settings: Any) -> dict[str, Any]:
    """Return the TrainingArguments derived from the settings, common to all methods."""
    dtype = causal_lm.as_dtype(settings.dtype)
    cuda = causal_lm.device() == "cuda"
    return {
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "optim": OPTIMIZERS[settings.optimizer],
        # With preferences, policy and reference would get different noise.
        "neftune_noise_alpha": settings.neftune if settings.method == "sft" else None,
        "max_length": settings.max_length,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "bf16": dtype == torch.bfloat16,
        "fp16": dtype == torch.float16,
        "use_cpu": not cuda,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "logging_steps": 1,
        "logging_strategy": "steps",
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # checkpoints.Keeper saves by time, not by steps
        "save_total_limit": 2,
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": cuda,
    }


def plain_arguments(settings: Any) -> TrainingArguments:
    """Return the TrainingArguments that determine the optimizer."""
    values = shared(settings)
    return TrainingArguments(output_dir="", **{name: values[name] for name in ("learning_rate", "optim", "use_cpu")})


def _widen(model: Any) -> None:
    """Convert trainable parameters to float32, where TRL leaves a quantised model's adapter in bfloat16.

    In bfloat16, updates with a small learning rate round to zero, float16 training cannot scale the gradients, and
    checkpoints are loaded in float32, so that resumed training would differ.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _speed_up(base: Any, packing: bool) -> None:
    """Install the CPU kernels (see cpu_kernels). GPUs keep TRL's kernels; these were not measured there."""
    if causal_lm.device() == "cpu":
        if packing:
            cpu_kernels.install_packed_attention(base)
        if cpu_kernels.can_compute_loss(base):
            cpu_kernels.install_loss(base)


class _Dpo(DPOTrainer):
    """DPO on tokenized pairs."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def _orpo(common: dict[str, Any], arguments: dict[str, Any]) -> Trainer:
    """Return an ORPO trainer for tokenized pairs. TRL's ORPO is experimental, so it is imported only when used."""
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class Orpo(ORPOTrainer):
        read = 0

        def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
            return feature

        def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
            # TRL computes the language modelling loss on the prompt too: replace it by that of the chosen answers.
            logps, *others = super().concatenated_forward(model, batch)
            counts = (batch["chosen_labels"] != -100).sum(-1).to(logps.device)
            others[3] = -(logps * counts).sum() / counts.sum()
            return (logps, *others)

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            masks = torch.stack([inputs[f"{side}_attention_mask"].sum() for side in ("chosen", "rejected")])
            if model.training:
                self.read += int(self.accelerator.gather(masks).sum())
            return super().compute_loss(model, inputs, *args, **kwargs)

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            if "loss" in logs:
                logs["num_tokens"] = self.read
            super().log(logs, *args, **kwargs)

    return Orpo(args=ORPOConfig(**arguments), **common)
