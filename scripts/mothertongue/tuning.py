"""Tuning: a LoRA adapter trained by TRL on threads, with the loss on the assistant's words only."""

import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from mothertongue.causal import compute_dtype, device
from mothertongue.checkpoints import Keeper
from mothertongue.errors import UserError
from mothertongue.progress import duration, say
from mothertongue.prompts import Encoded

disable_progress_bars()


@dataclass(frozen=True)
class Settings:
    """The hyperparameters; lengths in tokens, `warmup` as a share of the steps, `max_steps` None for whole epochs."""

    quantization: str
    lora_rank: int
    lora_alpha: int
    lora_dropout: float
    epochs: float
    max_steps: int | None
    learning_rate: float
    warmup: float
    batch_size: int
    accumulation: int
    max_length: int
    packing: bool
    gradient_checkpointing: bool
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What training measured; `losses` by step, `tokens` are those the model read, padding left out."""

    losses: list[float]
    steps: int
    tokens: int
    seconds: float
    peak_memory_mb: int

    @property
    def tokens_per_second(self) -> float:
        """The training speed."""
        return self.tokens / self.seconds


def trainable(threads: Sequence[Encoded]) -> list[Encoded]:
    """The threads that teach something: cutting at the maximum length may have left no assistant token.

    Raises UserError where none is left.
    """
    kept = [thread for thread in threads if thread.targets]
    if not kept:
        raise UserError("no thread has an assistant's word within tuning.max_length; raise it or check the threads")
    return kept


def train(
    model: Any, tokenizer: Any, threads: Sequence[Encoded], settings: Settings, work: Path, keeper: Keeper
) -> tuple[Any, Outcome]:
    """Train a LoRA adapter on tokenized threads; returns the model with it and what was measured.

    Checkpoints go to `work`, when `keeper` says; training goes on from the one that it has. Raises UserError where the
    keeper stops it before its end.
    """
    set_seed(settings.seed)
    dataset = Dataset.from_list([{"input_ids": t.input_ids, "labels": t.labels} for t in threads])
    lora = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    dtype = compute_dtype()
    arguments = SFTConfig(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=settings.warmup,
        weight_decay=0.001,
        max_grad_norm=0.3,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        max_length=settings.max_length,
        packing=settings.packing,
        packing_strategy="bfd",
        gradient_checkpointing=settings.gradient_checkpointing,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=device() == "cpu",
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=1,
        logging_strategy="steps",
        save_strategy="no",  # by the clock, not by steps: see Keeper
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=device() == "cuda",
    )
    meter = _Meter()
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[meter, keeper],
    )
    trainer.remove_callback(_printer())
    before = keeper.before
    if before:
        say(f"tune: going on from step {before.step}")
    trainer.train(resume_from_checkpoint=str(before.folder) if before else None)
    keeper.check(trainer.state.global_step, trainer.state.max_steps)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return trainer.model, Outcome(losses, trainer.state.global_step, keeper.tokens, keeper.seconds, peak_memory_mb())


def save(model: Any, tokenizer: Any, folder: Path, base: str, revision: str | None) -> None:
    """Save adapter, tokenizer and chat template; `base` is what peft loads the base model from."""
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = base, revision
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # A set in memory, it is written in no order: sorted, the same settings give the same bytes.
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["target_modules"] = sorted(written["target_modules"])
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def record(settings: Settings, outcome: Outcome) -> dict[str, Any]:
    """The settings and measurements, for training.json."""
    measured = asdict(outcome) | {"tokens_per_second": round(outcome.tokens_per_second, 1)}
    return {"settings": asdict(settings), "device": device(), "training": measured}


def versions() -> dict[str, str]:
    """The packages that the weights depend on."""
    return {name: metadata.version(name) for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")}


def peak_memory_mb() -> int:
    """The most memory that was held: on the GPU where there is one, else by this process."""
    if device() == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


class _Meter(TrainerCallback):
    """Says how training goes, at most every five seconds."""

    def __init__(self) -> None:
        self.tokens = 0
        self.started = self.said = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started = self.said = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        self.tokens = int(logs.get("num_tokens", self.tokens))
        now = time.monotonic()
        if now - self.said >= 5 or state.global_step == state.max_steps:
            self.said = now
            seconds = now - self.started
            left = seconds / state.global_step * (state.max_steps - state.global_step)
            say(
                f"tune: step {state.global_step} of {state.max_steps}, loss {logs['loss']:.3f}, "
                f"{self.tokens / seconds:,.0f} tokens/s, {duration(left)} left"
            )


def _printer() -> type:
    """The callback by which Trainer prints raw dictionaries."""
    from transformers import PrinterCallback

    return PrinterCallback
