"""Checkpoints of a training, by which it goes on after it was stopped: by a signal, a time limit or a power cut."""

import json
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from mothertongue.common import atomic_files
from mothertongue.common.atomic_files import folder_checksums, read_json, write_json
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.tuning import distributed

# What the checkpoints in a folder depend on, and in each checkpoint the mark that it is whole.
_KEY, _WHOLE = "made_of.json", "whole.json"
# Kept back of a time budget, to write the last checkpoint and for what ran before this program: a share of it, within
# bounds in seconds.
_RESERVE, _LEAST, _MOST = 0.2, 20, 300
# One request may come as several signals, in seconds: from the terminal and from the process that started this one.
_ONE_SIGNAL = 2


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its folder, the steps it has behind it, and what those were.

    The seconds they took, the tokens they read, and the processor threads that each process computed them with.
    """

    folder: Path
    step: int
    seconds: float
    tokens: int
    threads: int


def find(folder: Path, fingerprint: Mapping[str, Any]) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`; None where training begins anew.

    `fingerprint` is what a checkpoint depends on, as JSON has it. Checkpoints of anything else are removed, with a line
    that says what differs; so are damaged ones. All processes that train together call it, and get the same.
    """
    fingerprint = json.loads(json.dumps(fingerprint))
    if distributed.rank() == 0:
        _prepare(folder, fingerprint)
    distributed.wait_for_all()
    return newest(folder)


def newest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_WHOLE}")]
    found = [Checkpoint(path, _step(path), *_measured(path)) for path in whole]
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


def _prepare(folder: Path, fingerprint: Mapping[str, Any]) -> None:
    """Remove what is of other things, or damaged, so that the newest checkpoint there is good.

    Nobody else writes the folder from here on: another training's checkpoints look like those of a killed one.
    """
    atomic_files.refuse_link(folder)
    atomic_files.hold(folder)
    before = read_json(folder / _KEY) if (folder / _KEY).is_file() else None
    if before != fingerprint:
        if before:
            changed = sorted(name for name in {*before, *fingerprint} if before.get(name) != fingerprint.get(name))
            log(f"tune: the checkpoints in {folder} are of other {', '.join(changed)}: training begins anew")
        atomic_files.remove(folder)
        write_json(folder / _KEY, fingerprint)
        return
    for path in folder.glob("checkpoint-*"):
        if not (path / _WHOLE).is_file():
            atomic_files.remove(path)  # of a run that was killed while it wrote
        elif read_json(path / _WHOLE)["files"] != _checksums(path):
            log(f"tune: warning: {path} is damaged: removed, training goes on from the one before")
            atomic_files.remove(path)


def clear(folder: Path) -> None:
    """Remove the checkpoints of a training that is over, and let others write there."""
    atomic_files.remove(folder)
    atomic_files.release(folder)


class Keeper(TrainerCallback):
    """Saves checkpoints every `minutes`, and stops with one before `budget` minutes are over or when a signal asks.

    `started` is the time (monotonic, in seconds) that the budget begins at.
    """

    def __init__(self, minutes: float, budget: float | None, started: float, before: Checkpoint | None) -> None:
        self.interval = 60 * minutes
        self.began = self.saved = time.monotonic()
        self.go_on_from(before)
        self.deadline = None
        if budget is not None:
            reserve = min(max(60 * budget * _RESERVE, _LEAST), _MOST)
            self.deadline = started + 60 * budget - reserve
        self.slowest = 0.0
        self.step_began = self.began
        self.reason = ""
        self.asked = self.began

    @property
    def seconds(self) -> float:
        """How long training has taken, earlier runs included."""
        return self.seconds_before + time.monotonic() - self.began

    def go_on_from(self, before: Checkpoint | None) -> None:
        """Take over what a checkpoint has behind it; None for a new beginning."""
        self.before = before
        self.seconds_before = before.seconds if before else 0.0
        self.tokens = self.tokens_before = before.tokens if before else 0

    def listen(self, signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
        """Stop at the end of a step when a signal comes; a second one ends the program at once."""
        for number in signals:
            signal.signal(number, self._asked)

    def check(self, step: int, steps: int) -> None:
        """Raise UserError where training was stopped before its end."""
        if self.reason and step < steps:
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
        stop, save = distributed.any_of([bool(self.reason), now - self.saved >= self.interval])
        if stop:
            self.reason = self.reason or "as another of its processes was"
            control.should_training_stop = True
        if state.global_step < state.max_steps and (stop or save):
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Count the tokens: the trainer begins anew with each run."""
        self.tokens = self.tokens_before + int((logs or {}).get("num_tokens", self.tokens - self.tokens_before))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark a checkpoint that is written to its end."""
        distributed.wait_for_all()  # each process writes its own state of chance
        self.saved = time.monotonic()
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if distributed.rank() == 0:
            measured = {
                "seconds": round(self.seconds, 1),
                "tokens": self.tokens,
                "threads": torch.get_num_threads(),
            }
            write_json(folder / _WHOLE, measured | {"files": _checksums(folder)})
        log(f"tune: checkpoint after step {state.global_step} of {state.max_steps}")

    def _asked(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if not self.reason:
            self.reason, self.asked = f"asked to by {signal.Signals(number).name}", now
            log("tune: stopping at the end of this step")
        elif now - self.asked > _ONE_SIGNAL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def _measured(folder: Path) -> tuple[float, int, int]:
    record = read_json(folder / _WHOLE)
    return record["seconds"], record["tokens"], record.get("threads", torch.get_num_threads())


def _checksums(folder: Path) -> dict[str, str]:
    return {name: checksum for name, checksum in folder_checksums(folder).items() if name != _WHOLE}


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))
