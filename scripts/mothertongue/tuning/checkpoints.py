"""Training checkpoints, to resume after a signal, a time limit or a power cut."""

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
from mothertongue.common.version import version
from mothertongue.tuning import distributed

# The fingerprint of a folder's checkpoints, and the file in each that marks it as complete.
_KEY, _WHOLE = "made_of.json", "whole.json"
# The part of a time budget reserved for writing the last checkpoint and for what ran before this program: a share, with
# bounds in seconds.
_RESERVE, _LEAST, _MOST = 0.2, 20, 300
# Seconds within which signals count as one request: the terminal and the parent process may both send one.
_ONE_SIGNAL = 2


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: its folder, and its number of training steps.

    With it, the seconds that these steps took, the tokens that they read, the CPU threads of each process, and the
    versions of the workflow that trained them.
    """

    folder: Path
    step: int
    seconds: float
    tokens: int
    threads: int
    versions: tuple[str, ...]


def find(folder: Path, fingerprint: Mapping[str, Any]) -> Checkpoint | None:
    """Return the newest complete checkpoint in `folder`; None where training starts from the beginning.

    `fingerprint` has what checkpoints depend on, as JSON values. Remove checkpoints with another fingerprint, and log
    the keys that differ; remove damaged ones. Every process has to call this, and gets the same result.
    """
    fingerprint = json.loads(json.dumps(fingerprint))
    if distributed.rank() == 0:
        _prepare(folder, fingerprint)
    distributed.wait_for_all()
    return newest(folder)


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint in `folder`; None where there is none."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_WHOLE}")]
    found = [Checkpoint(path, _step(path), *_measured(path)) for path in whole]
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


def _prepare(folder: Path, fingerprint: Mapping[str, Any]) -> None:
    """Remove checkpoints with another fingerprint and damaged ones.

    Lock the folder first: a checkpoint that another training is writing looks like one of a killed process.
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
            atomic_files.remove(path)  # incomplete: the run was killed while writing it
        elif read_json(path / _WHOLE)["files"] != _checksums(path):
            log(f"tune: warning: {path} is damaged: removed, training goes on from the one before")
            atomic_files.remove(path)


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished training, and unlock the folder."""
    atomic_files.remove(folder)
    atomic_files.release(folder)


class Keeper(TrainerCallback):
    """Saves a checkpoint every `minutes`; saves one and stops before `budget` minutes are over, or on a signal.

    `started` is the time (monotonic, in seconds) at which the budget begins.
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
        """The duration of training in seconds, earlier runs included."""
        return self.seconds_before + time.monotonic() - self.began

    def go_on_from(self, before: Checkpoint | None) -> None:
        """Continue the counts of seconds and tokens, and the versions, from a checkpoint; None starts from zero."""
        self.before = before
        self.seconds_before = before.seconds if before else 0.0
        self.tokens = self.tokens_before = before.tokens if before else 0
        self.versions = list(dict.fromkeys([*(before.versions if before else ()), version()]))

    def listen(self, signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
        """Handle signals: the first stops training at the end of the step, a second one ends the program at once."""
        for number in signals:
            signal.signal(number, self._asked)

    def check(self, step: int, steps: int) -> None:
        """Raise UserError where training was stopped before its last step."""
        if self.reason and step < steps:
            raise UserError(f"stopped after step {step} of {steps}, {self.reason}; the same command goes on from there")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clocks."""
        self.began = self.saved = self.step_began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save a checkpoint when one is due, and stop where a signal or the budget requires it."""
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
        """Count the tokens of all runs: the trainer's count starts at zero in each run."""
        self.tokens = self.tokens_before + int((logs or {}).get("num_tokens", self.tokens - self.tokens_before))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark a checkpoint as complete."""
        distributed.wait_for_all()  # each process writes its own random state
        self.saved = time.monotonic()
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if distributed.rank() == 0:
            measured = {
                "seconds": round(self.seconds, 1),
                "tokens": self.tokens,
                "threads": torch.get_num_threads(),
                "versions": self.versions,
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


def _measured(folder: Path) -> tuple[float, int, int, tuple[str, ...]]:
    record = read_json(folder / _WHOLE)
    threads, versions = record.get("threads", torch.get_num_threads()), record.get("versions", ["unknown"])
    return record["seconds"], record["tokens"], threads, tuple(versions)


def _checksums(folder: Path) -> dict[str, str]:
    return {name: checksum for name, checksum in folder_checksums(folder).items() if name != _WHOLE}


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))
