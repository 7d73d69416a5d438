"""Tuning: a LoRA adapter trained by TRL, with the loss on the assistant's words only, or on preferences."""

import gc
import json
import math
import os
import re
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.optimizers import create_loraplus_optimizer
from transformers import Trainer, set_seed
from transformers.integrations import is_tensorboard_available

from mothertongue.common import hardware
from mothertongue.common.atomic_files import is_full
from mothertongue.common.errors import OwnError, UserError
from mothertongue.common.memory import out_of_memory
from mothertongue.common.progress import log
from mothertongue.models import causal_lm, tokenizer_files
from mothertongue.models.causal_lm import device
from mothertongue.prompts.templates import Template
from mothertongue.tuning import checkpoints, distributed, trainers
from mothertongue.tuning.callbacks import Finite, Meter, Validation, validation_losses
from mothertongue.tuning.data import Example, Tokenized
from mothertongue.tuning.settings import TuningSettings

ALL_LINEAR = "all-linear"
# What sees and hears in models that read more than text: no thread would teach it anything.
_OTHER_SENSES = re.compile(r".*\b(?:vision_tower|vision_model|visual|multi_modal_projector|audio_tower)\b.*")


@dataclass(frozen=True)
class Layout:
    """How the sequences of a step are read: so many at once by each process, so many times."""

    batch_size: int
    accumulation: int
    processes: int

    @property
    def sequences(self) -> int:
        """The sequences of a step."""
        return self.batch_size * self.accumulation * self.processes


@dataclass(frozen=True)
class Outcome:
    """What training measured: losses and (of preferences) reward margins by step, validation losses with their steps.

    `tokens` are those that the model read, padding left out, of all processes; `best_step` is the step that the weights
    are of where the last ones were not the best.
    """

    losses: list[float]
    margins: list[float]
    validation: list[tuple[int, float]]
    best_step: int | None
    steps: int
    sequences_a_step: int
    processes: int
    tokens: int
    seconds: float
    peak_memory_mb: int

    @property
    def tokens_per_second(self) -> float:
        """The training speed."""
        return self.tokens / self.seconds


def compute_with(threads: int | None) -> None:
    """Compute with so many processor threads, shared out among the processes; None for what OMP_NUM_THREADS says.

    Sums are divided among the threads, so another number of them rounds otherwise: some matrix products and every sum
    of more than 32,768 numbers end in other bits. At one number of threads the bits are the same on however many cores,
    busy or not. Said once here, MKL, oneDNN and PyTorch's own loops all keep to it.
    """
    share = max(1, threads // distributed.world_size()) if threads else torch.get_num_threads()
    torch.set_num_threads(share)


def compute_as(before: checkpoints.Checkpoint) -> None:
    """Compute with as many threads as a checkpoint was, so that the whole training ends in the same bits."""
    threads = torch.get_num_threads()
    if before.threads != threads:
        log(f"tune: computing with {before.threads} threads as before, not {threads}: the same digits")
        torch.set_num_threads(before.threads)


def with_lora(model: Any, settings: TuningSettings) -> Any:
    """The model with a new LoRA adapter. Raises UserError where it has no such layers."""
    set_seed(settings.seed)
    targets = settings.lora_targets
    others = [name for name, _ in model.named_modules() if _OTHER_SENSES.fullmatch(name)]
    lora = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=ALL_LINEAR if targets == [ALL_LINEAR] else targets,
        exclude_modules=_OTHER_SENSES.pattern if others else None,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        advice = "; set tuning.lora.dropout to 0" if "dropout" in str(error) else ""
        raise UserError(f"tuning.lora.targets {', '.join(targets)}: {error}{advice}") from None


def layout(settings: TuningSettings, data: Sequence[Example], processes: int, most: int | None = None) -> Layout:
    """How a step's sequences are shared out and read: the same sequences a step whatever the number of processes.

    `most` bounds what a process reads at once. Raises UserError where they cannot be shared out evenly.
    """
    accumulation = settings.accumulation
    if settings.target_tokens:
        targets = sum(one.targets for one in data)
        rows = len(data)
        if settings.method == "sft" and settings.packing:
            rows = math.ceil(sum(len(one) for one in data) / settings.max_length)
        accumulation = max(1, round(settings.target_tokens / (targets / rows * settings.batch_size)))
    sequences = settings.batch_size * accumulation
    if sequences % processes:
        if not settings.target_tokens:
            raise UserError(
                f"a step of {sequences} sequences (tuning.batch_size x accumulation) cannot be shared out among "
                f"{processes} GPUs; make it a multiple of {processes}"
            )
        sequences = processes * math.ceil(sequences / processes)
    share = sequences // processes
    at_once = max(n for n in range(1, share + 1) if share % n == 0 and n <= min(settings.batch_size, most or share))
    return Layout(at_once, share // at_once, processes)


def train(
    model: Any,
    tokenizer: Any,
    data: Tokenized,
    validation: Tokenized,
    settings: TuningSettings,
    work: Path,
    keeper: checkpoints.Keeper,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[Trainer, Outcome]:
    """Train a model's adapter on what is tokenized; returns the trainer with the model, and what was measured.

    Checkpoints go to `work`, when `keeper` says; training goes on from the one that it has. Where memory runs out, the
    step is read in smaller parts. `arguments` are TrainingArguments of the machine (FSDP, reports). Raises UserError
    where the keeper stops it before its end, where the loss is no number, and where memory or disk do not suffice.
    """
    beginning = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}
    most = None
    while True:
        plan = layout(settings, data.data, distributed.world_size(), most)
        watch = Validation(settings.patience, work / "best.safetensors")
        own = {
            "output_dir": str(work),
            "per_device_train_batch_size": plan.batch_size,
            # The validation loss is a mean over batches: one sequence each, it is the same on every machine.
            "per_device_eval_batch_size": 1,
            "gradient_accumulation_steps": plan.accumulation,
            "report_to": "none",
        }
        if validation.data and settings.validation_interval:
            own |= {"eval_strategy": "steps", "eval_steps": settings.validation_interval}
        own |= arguments or {}
        callbacks = [Meter(), Finite(), watch, keeper]
        optimizer = _optimizer(model, settings)
        trainer = trainers.build(settings, model, tokenizer, data, validation, own, callbacks, optimizer)
        try:
            _run(trainer, keeper, work)
            break
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        if plan.batch_size == 1 or plan.processes > 1:
            raise OwnError(
                f"out of memory with {plan.batch_size} sequences of {settings.max_length} tokens at once; lower "
                "tuning.max_length or batch_size, or set tuning.gradient_checkpointing or quantization: nf4"
            )
        most = plan.batch_size // 2
        log(f"tune: warning: out of memory with {plan.batch_size} sequences at once; going on with {most}")
        if hook := getattr(trainer, "neftune_hook_handle", None):
            hook.remove()
        del trainer
        _let_go(model, beginning)
        keeper.go_on_from(checkpoints.newest(work))
    model = trainer.model
    history = trainer.state.log_history
    keeper.check(trainer.state.global_step, trainer.state.max_steps)
    best = watch.take_best(model, history)
    outcome = Outcome(
        losses=[entry["loss"] for entry in history if "loss" in entry],
        margins=[entry["rewards/margins"] for entry in history if "rewards/margins" in entry],
        validation=validation_losses(history),
        best_step=best,
        steps=trainer.state.global_step,
        sequences_a_step=plan.sequences,
        processes=plan.processes,
        tokens=keeper.tokens,
        seconds=keeper.seconds,
        peak_memory_mb=peak_memory_mb(),
    )
    return trainer, outcome


def check(settings: TuningSettings, data: Sequence[Example], validation: Sequence[Example], sharded: bool) -> None:
    """Say what of the settings has no effect here. Raises UserError for those that do not go together."""
    layout(settings, data, distributed.world_size())
    if sharded and distributed.world_size() == 1:
        raise UserError("tuning.fsdp shares a model out among several GPUs; set tuning.gpus, or fsdp to null")
    if settings.lora_plus and sharded:
        raise UserError("tuning.lora.plus does not work with tuning.fsdp; set one of them to null")
    if settings.patience and not settings.validation_interval:
        raise UserError("tuning.validation.patience needs an interval; set tuning.validation.interval")
    if settings.patience and sharded:
        raise UserError("tuning.validation.patience does not work with tuning.fsdp; set one of them to null")
    if settings.dtype == "float16" and device() == "cpu":
        raise UserError("tuning.dtype is float16, which trains on GPUs only; set it to auto")
    if settings.validation_interval and not validation:
        log("tune: there is no validation data: its loss is not followed")
    if settings.quantization != "none" and device() == "cpu":
        log(f"tune: {settings.quantization} on a CPU: less memory, and slower than quantization none")


def check_model(model: Any, settings: TuningSettings) -> None:
    """Say what of a loaded model is not quantised.

    Raises UserError where it cannot read as much as is asked for, or parts are to be trained that cannot be.
    """
    window = causal_lm.window(model)
    if window and settings.max_length > window:
        raise UserError(f"tuning.max_length is {settings.max_length:,}, and the base model reads {window:,}; lower it")
    last = model.get_output_embeddings()
    fixed = [name for name, part in model.named_modules() if part is last or isinstance(part, torch.nn.Embedding)]
    for target in settings.lora_targets:
        if any(f".{name}".endswith(f".{target}") for name in fixed):
            raise UserError(
                f"tuning.lora.targets: {target} cannot be trained (embeddings stay as they are); leave it out"
            )
    if settings.quantization != "none":
        wide, total = causal_lm.full_width_gb(model)
        if wide > total / 2:
            log(f"tune: warning: {wide:.1f} of the model's {total:.1f} GB cannot be quantised (experts are no layers)")


def machine_arguments(fsdp: Path | None, tensorboard: Path | None) -> dict[str, Any]:
    """The TrainingArguments of the machine and its reports. Raises UserError where something for them is missing."""
    arguments = distributed.fsdp_arguments(fsdp) if fsdp else {}
    if tensorboard:
        if not is_tensorboard_available():
            raise UserError("tuning.report_to is tensorboard, and it is not installed: pip install tensorboard")
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(tensorboard)
        arguments["report_to"] = "tensorboard"
    return arguments


def gathered(trainer: Trainer) -> dict[str, Any] | None:
    """The weights of a model that is shared out among processes (all must call it); None where it is not."""
    return trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None


def save(
    trainer: Trainer, tokenizer: Any, template: Template, folder: Path, weights: dict[str, Any] | None, base: str,
    revision: str | None,
) -> None:  # fmt: skip
    """Save adapter, tokenizer and chat template; `base` is what peft loads the base model from."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision, config.inference_mode = base, revision, True
    model.save_pretrained(folder, selected_adapters=["default"], state_dict=weights)
    tokenizer.chat_template = template.source
    tokenizer_files.save(tokenizer, folder)
    # A set in memory, it is written in no order: sorted, the same settings give the same bytes.
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(written["target_modules"], list):
        written["target_modules"] = sorted(written["target_modules"])
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def record(settings: TuningSettings, outcome: Outcome) -> dict[str, Any]:
    """The settings and measurements, for training.json."""
    measured = asdict(outcome) | {"tokens_per_second": round(outcome.tokens_per_second, 1)}
    dtype = str(causal_lm.as_dtype(settings.dtype)).removeprefix("torch.")
    return {
        "settings": asdict(settings),
        "device": device(),
        "dtype": dtype,
        "machine": {
            "processor": hardware.processor(),
            "cpu_threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if device() == "cuda" else None,
        },
        "training": measured,
    }


def versions() -> dict[str, str]:
    """The packages that the weights depend on."""
    return {name: metadata.version(name) for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")}


def peak_memory_mb() -> int:
    """The most memory that was held: on the GPU where there is one, else by this process."""
    if device() == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def _run(trainer: Trainer, keeper: checkpoints.Keeper, work: Path) -> None:
    before = keeper.before
    if before:
        log(f"tune: going on from step {before.step}")
    try:
        trainer.train(resume_from_checkpoint=str(before.folder) if before else None)
    except Exception as error:
        if not is_full(error, work):
            raise
        raise OwnError(
            f"{work}: no space left for a checkpoint; make room, and the same command goes on from the one before"
        ) from None


def _optimizer(model: Any, settings: TuningSettings) -> Any:
    """LoRA+'s optimizer, whose B matrices learn faster; None for the trainer's own."""
    if settings.lora_plus is None:
        return None
    kind, options = Trainer.get_optimizer_cls_and_kwargs(trainers.plain_arguments(settings), model.get_base_model())
    options |= {"weight_decay": settings.weight_decay}
    rate = options.pop("lr")
    return create_loraplus_optimizer(model, kind, lr=rate, loraplus_lr_ratio=settings.lora_plus, **options)


def _let_go(model: Any, beginning: Mapping[str, Any]) -> None:
    """Give an adapter its first weights back, and the memory of what was tried."""
    model.zero_grad(set_to_none=True)
    gc.collect()
    if "ref" in model.peft_config:
        model.delete_adapter("ref")  # DPO's frozen copy, of which its next trainer makes another
    set_peft_model_state_dict(model, dict(beginning))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
