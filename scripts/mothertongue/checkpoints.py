"""Checkpoints of a training, by which it goes on after it was stopped: by a signal, a time limit or a power cut."""

import json
import shutil
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from mothertongue.errors import UserError
from mothertongue.files import read_json, write_json
from mothertongue.progress import say

# What the checkpoints in a folder depend on, and in each checkpoint the mark that it is whole.
_KEY, _WHOLE = "made_of.json", "whole.json"
# Kept back of a time budget, to write the last checkpoint and for what ran before this program: a share of it, within
# bounds in seconds.
_RESERVE, _LEAST, _MOST = 0.2, 20, 300


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its folder, the steps it has behind it, the seconds they took and the tokens they read."""

    folder: Path
    step: int
    seconds: float
    tokens: int


def find(folder: Path, made_of: Mapping[str, Any]) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`; None where training begins anew.

    `made_of` is what a checkpoint depends on, as JSON has it. Checkpoints of anything else are removed, with a line
    that says what differs.
    """
    made_of = json.loads(json.dumps(made_of))
    before = read_json(folder / _KEY) if (folder / _KEY).is_file() else None
    if before != made_of:
        if before:
            changed = sorted(name for name in {*before, *made_of} if before.get(name) != made_of.get(name))
            say(f"tune: the checkpoints in {folder} are of other {', '.join(changed)}: training begins anew")
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / _KEY, made_of)
        return None
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_WHOLE}")]
    for path in folder.glob("checkpoint-*"):
        if path not in whole:
            shutil.rmtree(path)
    found = [Checkpoint(path, _step(path), **read_json(path / _WHOLE)) for path in whole]
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


class Keeper(TrainerCallback):
    """Saves checkpoints every `minutes`, and stops with one before `budget` minutes are over or when a signal asks.

    `started` is the time (monotonic, in seconds) that the budget begins at.
    """

    def __init__(self, minutes: float, budget: float | None, started: float, before: Checkpoint | None) -> None:
        self.interval = 60 * minutes
        self.before = before
        self.began = self.saved = time.monotonic()
        self.seconds_before = before.seconds if before else 0.0
        self.tokens = self.tokens_before = before.tokens if before else 0
        self.deadline = None
        if budget is not None:
            reserve = min(max(60 * budget * _RESERVE, _LEAST), _MOST)
            self.deadline = started + 60 * budget - reserve
        self.slowest = 0.0
        self.step_began = self.began
        self.reason = ""

    @property
    def seconds(self) -> float:
        """How long training has taken, earlier runs included."""
        return self.seconds_before + time.monotonic() - self.began

    def listen(self, signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
        """Stop at the end of a step when a signal comes; a second one ends the program at once."""
        for number in signals:
            signal.signal(number, self._asked)

    def check(self, step: int, steps: int) -> None:
        """Raise UserError where training was stopped before its end."""
        if step < steps:
            raise UserError(f"stopped after step {step} of {steps}, {self.reason}; the same command goes on from there")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clocks."""
        self.began = self.saved = self.step_began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save where it is time to, and stop where that was asked."""
        now = time.monotonic()
        self.slowest = max(self.slowest, now - self.step_began)
        self.step_began = now
        if self.deadline is not None and now + self.slowest > self.deadline:
            self.reason = self.reason or "before its time was over"
        if state.global_step < state.max_steps and (self.reason or now - self.saved >= self.interval):
            control.should_save = True
        if self.reason:
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Count the tokens: the trainer begins anew with each run."""
        self.tokens = self.tokens_before + int((logs or {}).get("num_tokens", self.tokens - self.tokens_before))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark a checkpoint that is written to its end."""
        self.saved = time.monotonic()
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_json(folder / _WHOLE, {"seconds": round(self.seconds, 1), "tokens": self.tokens})
        say(f"tune: checkpoint after step {state.global_step} of {state.max_steps}")

    def _asked(self, number: int, frame: Any) -> None:
        self.reason = f"asked to by {signal.Signals(number).name}"
        signal.signal(number, signal.SIG_DFL)
        say("tune: stopping at the end of this step")


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))
