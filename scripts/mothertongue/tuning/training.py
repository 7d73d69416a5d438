"""Training of a LoRA adapter with TRL, with the loss on the assistant's tokens only, or on preferences."""

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
# Vision and audio modules of multimodal models: text threads cannot train them.
_OTHER_SENSES = re.compile(r".*\b(?:vision_tower|vision_model|visual|multi_modal_projector|audio_tower)\b.*")


@dataclass(frozen=True)
class Layout:
    """The distribution of a step's sequences: batch size of a process, accumulation steps, and processes."""

    batch_size: int
    accumulation: int
    processes: int

    @property
    def sequences(self) -> int:
        """The number of sequences of a step."""
        return self.batch_size * self.accumulation * self.processes


@dataclass(frozen=True)
class Outcome:
    """The measurements of a training: losses and (for preferences) reward margins by step, (step, validation loss).

    `tokens` counts the tokens read by all processes, without padding; `best_step` is the step of the weights with the
    best validation loss, None where the last ones are kept.
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
        """The training speed, of all processes."""
        return self.tokens / self.seconds


def compute_with(threads: int | None) -> None:
    """Set the number of CPU threads, divided among the processes; None keeps PyTorch's default (OMP_NUM_THREADS).

    Reductions are split among the threads, so rounding depends on their number: some matrix products and every sum of
    more than 32,768 numbers differ in their last bits. With a fixed number of threads the bits are the same on any
    number of cores, under any load. This call sets the number for MKL, oneDNN and PyTorch's own loops.
    """
    share = max(1, threads // distributed.world_size()) if threads else torch.get_num_threads()
    torch.set_num_threads(share)


def compute_as(before: checkpoints.Checkpoint) -> None:
    """Set the number of CPU threads that a checkpoint was computed with, so that resuming gives the same bits."""
    threads = torch.get_num_threads()
    if before.threads != threads:
        log(f"tune: computing with {before.threads} threads as before, not {threads}: the same digits")
        torch.set_num_threads(before.threads)


def with_lora(model: Any, settings: TuningSettings) -> Any:
    """Return the model with a new LoRA adapter. Raise UserError where it lacks the target layers."""
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
    """Return the layout of a step; its number of sequences does not depend on the number of processes.

    `most` bounds the batch size of a process. Raise UserError where the sequences do not divide evenly; with
    `target_tokens` their number is rounded up instead.
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
    """Train a model's adapter; return the trainer, which has the model, and the measurements.

    `keeper` writes checkpoints to `work`, and training resumes from its checkpoint. Out of memory, a single process
    halves its batch size and accumulates more batches. `arguments` are TrainingArguments of the machine (FSDP,
    reports). Raise UserError where `keeper` stops training early, where the loss is not finite, and where memory or
    disk space do not suffice.
    """
    beginning = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}
    most = None
    while True:
        plan = layout(settings, data.data, distributed.world_size(), most)
        watch = Validation(settings.patience, work / "best.safetensors")
        own = {
            "output_dir": str(work),
            "per_device_train_batch_size": plan.batch_size,
            # The validation loss is a mean over batches: with one sequence each, it is the same on every machine.
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
    """Log settings without effect here. Raise UserError for settings that are incompatible."""
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
    """Log a warning where more than half of a model cannot be quantised.

    Raise UserError where `max_length` exceeds the context window, or target layers cannot be trained.
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
    """Return the TrainingArguments for FSDP and TensorBoard.

    Raise UserError where the FSDP configuration is invalid or TensorBoard is not installed.
    """
    arguments = distributed.fsdp_arguments(fsdp) if fsdp else {}
    if tensorboard:
        if not is_tensorboard_available():
            raise UserError("tuning.report_to is tensorboard, and it is not installed: pip install tensorboard")
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(tensorboard)
        arguments["report_to"] = "tensorboard"
    return arguments


def gathered(trainer: Trainer) -> dict[str, Any] | None:
    """Gather the weights of a model sharded by FSDP (every process has to call this); return None without FSDP."""
    return trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None


def save(
    trainer: Trainer, tokenizer: Any, template: Template, folder: Path, weights: dict[str, Any] | None, base: str,
    revision: str | None,
) -> None:  # fmt: skip
    """Save adapter, tokenizer and chat template; peft loads the base model from `base` at `revision`."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision, config.inference_mode = base, revision, True
    model.save_pretrained(folder, selected_adapters=["default"], state_dict=weights)
    tokenizer.chat_template = template.source
    tokenizer_files.save(tokenizer, folder)
    # peft writes target_modules, a set, in arbitrary order: sort it, so that the same settings give the same bytes.
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(written["target_modules"], list):
        written["target_modules"] = sorted(written["target_modules"])
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def record(settings: TuningSettings, outcome: Outcome) -> dict[str, Any]:
    """Return the settings and measurements, for training.json."""
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
    """Return the versions of the packages that the weights depend on."""
    return {name: metadata.version(name) for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")}


def peak_memory_mb() -> int:
    """Return the peak memory in MiB: of the GPU where there is one, else of this process."""
    if device() == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def _run(trainer: Trainer, keeper: checkpoints.Keeper, work: Path) -> None:
    before = keeper.before
    if before:
        log(f"tune: going on from step {before.step}")
        if keeper.versions != list(before.versions):
            former, own = before.versions[-1], keeper.versions[-1]
            log(f"tune: warning: trained by version {former} up to there, and by {own} from there")
    try:
        trainer.train(resume_from_checkpoint=str(before.folder) if before else None)
    except Exception as error:
        if not is_full(error, work):
            raise
        raise OwnError(
            f"{work}: no space left for a checkpoint; make room, and the same command goes on from the one before"
        ) from None


def _optimizer(model: Any, settings: TuningSettings) -> Any:
    """Return LoRA+'s optimizer, with a higher learning rate for B matrices; None for the trainer's own."""
    if settings.lora_plus is None:
        return None
    kind, options = Trainer.get_optimizer_cls_and_kwargs(trainers.plain_arguments(settings), model.get_base_model())
    options |= {"weight_decay": settings.weight_decay}
    rate = options.pop("lr")
    return create_loraplus_optimizer(model, kind, lr=rate, loraplus_lr_ratio=settings.lora_plus, **options)


def _let_go(model: Any, beginning: Mapping[str, Any]) -> None:
    """Restore an adapter's initial weights, and free the memory of the failed attempt."""
    model.zero_grad(set_to_none=True)
    gc.collect()
    if "ref" in model.peft_config:
        model.delete_adapter("ref")  # DPO's frozen reference, which the next trainer creates anew
    set_peft_model_state_dict(model, dict(beginning))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
