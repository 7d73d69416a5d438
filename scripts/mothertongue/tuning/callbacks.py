"""Training callbacks: progress, detection of non-finite losses, and early stopping by validation loss."""

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
    """Logs the progress of training, at most every five seconds."""

    def __init__(self) -> None:
        self.started = self.said = 0.0
        self.step_before = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.started = self.said = time.monotonic()
        self.step_before = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Log the step, the loss, the speed and the time left."""
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
    """Ends training where a loss or gradient norm is not finite, before a checkpoint saves the damaged weights."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Raise UserError for a value that is not finite."""
        # With float16, the gradient scaler skips steps whose gradients overflow.
        names = ("loss", "eval_loss") if args.fp16 else ("loss", "eval_loss", "grad_norm")
        for name in names:
            if logs and not math.isfinite(float(logs.get(name, 0.0))):
                what = {"loss": "loss", "eval_loss": "validation loss", "grad_norm": "norm of the gradients"}[name]
                raise UserError(
                    f"the {what} was {logs[name]} at step {state.global_step}; lower tuning.learning_rate, or set "
                    "tuning.dtype to bfloat16 or float32; the last checkpoint before it is kept"
                )


class Validation(TrainerCallback):
    """Logs the validation loss; with `patience`, keeps the best adapter and stops training early.

    `patience` is the number of evaluations without a new best loss; None disables both. The best adapter is written to
    `file`, so that resumed training still has it.
    """

    def __init__(self, patience: int | None, file: Path) -> None:
        self.patience = patience
        self.file = file
        self.ended_early = False

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Log the loss, save the best adapter, and stop training when patience is exhausted."""
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
        """Load the best adapter's weights into `model`; return their step, or None without patience or evaluations."""
        losses = validation_losses(history)
        if self.patience is None or not losses:
            return None
        set_peft_model_state_dict(model, load_file(self.file))
        return best_step(losses)


def validation_losses(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Return (step, validation loss) for each evaluation in a trainer's log."""
    return [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]


def best_step(losses: Sequence[tuple[int, float]]) -> int:
    """Return the first step with the lowest loss; NaN ranks last."""
    return min(losses, key=lambda entry: (math.isnan(entry[1]), entry[1], entry[0]))[0]


def _unwrapped(model: Any) -> Any:
    return getattr(model, "module", model)


def _contiguous(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
