"""What watches a training: its progress, losses that are no numbers, and the validation loss."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import UserError
from mothertongue.common.progress import duration, log
from mothertongue.tuning import distributed


class Meter(TrainerCallback):
    """Says how training goes, at most every five seconds."""

    def __init__(self) -> None:
        self.started = self.said = 0.0
        self.step_before = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.started = self.said = time.monotonic()
        self.step_before = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Say the step, the loss, the speed and the time left."""
        if not logs or "loss" not in logs:
            return
        now = time.monotonic()
        if now - self.said >= 5 or state.global_step == state.max_steps:
            self.said = now
            seconds = now - self.started
            left = seconds / (state.global_step - self.step_before) * (state.max_steps - state.global_step)
            tokens = int(logs.get("num_tokens", 0))
            speed = f", {tokens / seconds:,.0f} tokens/s" if tokens else ""
            margin = f", reward margin {logs['rewards/margins']:.3f}" if "rewards/margins" in logs else ""
            log(
                f"tune: step {state.global_step} of {state.max_steps}, loss {logs['loss']:.3f}{margin}{speed}, "
                f"{duration(left)} left"
            )


class Finite(TrainerCallback):
    """Ends training where loss or gradients are no numbers any more, before a checkpoint keeps what they spoil."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Raise UserError for a value that is not finite."""
        # float16 leaves out the steps whose gradients are too large, and goes on.
        names = ("loss", "eval_loss") if args.fp16 else ("loss", "eval_loss", "grad_norm")
        for name in names:
            if logs and not math.isfinite(float(logs.get(name, 0.0))):
                what = {"loss": "loss", "eval_loss": "validation loss", "grad_norm": "norm of the gradients"}[name]
                raise UserError(
                    f"the {what} was {logs[name]} at step {state.global_step}; lower tuning.learning_rate, or set "
                    "tuning.dtype to bfloat16 or float32; the last checkpoint before it is kept"
                )


class Validation(TrainerCallback):
    """Follows the validation loss; with `patience` it keeps the best adapter and ends training when it gets no better.

    `patience` counts the looks at the validation loss without a new best; None for neither. The best adapter is written
    to `file`, so that a training which was stopped and goes on has it too.
    """

    def __init__(self, patience: int | None, file: Path) -> None:
        self.patience = patience
        self.file = file
        self.ended_early = False

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Say the loss, keep the best, and stop where patience is over."""
        losses = validation_losses(state.log_history)
        step, loss = losses[-1]
        log(f"tune: step {step} of {state.max_steps}, validation loss {loss:.4f}")
        if self.patience is None:
            return
        best = best_step(losses)
        if best == step and distributed.rank() == 0:
            with atomic_file(self.file) as partial:
                save_file(_contiguous(get_peft_model_state_dict(_unwrapped(model))), partial)
        since = sum(at > best for at, _ in losses)
        if since >= self.patience and step < state.max_steps:
            log(f"tune: no better validation loss than that of step {best} in {since} looks: training ends here")
            self.ended_early = True
            control.should_training_stop = True

    def take_best(self, model: Any, history: Sequence[Mapping[str, Any]]) -> int | None:
        """Give `model` the best adapter's weights where they are kept; returns the step that they are of."""
        losses = validation_losses(history)
        if self.patience is None or not losses:
            return None
        set_peft_model_state_dict(model, load_file(self.file))
        return best_step(losses)


def validation_losses(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """The validation losses of a trainer's log, with their steps."""
    return [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]


def best_step(losses: Sequence[tuple[int, float]]) -> int:
    """The step with the lowest loss, the first of several; what is no number is never the lowest."""
    return min(losses, key=lambda entry: (math.isnan(entry[1]), entry[1], entry[0]))[0]


def _unwrapped(model: Any) -> Any:
    return getattr(model, "module", model)


def _contiguous(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
