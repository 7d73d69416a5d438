"""Other people's programs that a step runs: heard while they work, and ended with the step, however that ends."""

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mothertongue.common.errors import without_hub
from mothertongue.common.progress import Progress

# How much is done and how much there is to do, by a line that a program says; None where it is of something else.
Reached = Callable[[str], tuple[int, int] | None]

# As many of the last lines as explain a failure.
_TAIL = 20
_PR_SET_PDEATHSIG = 1


def run(command: Sequence[str | Path], reached: Reached, task: str, unit: str) -> list[str]:
    """Run a program to its end, and say its progress. Its last lines where it failed, the last of them why; else none.

    Only what it writes to stderr is heard.
    """
    said: deque[str] = deque(maxlen=_TAIL)
    progress = None
    with _child(command) as process:
        for line in process.stderr or ():
            if found := reached(line):
                progress = progress or Progress(task, found[1], unit)
                # Nothing more is no progress, and has no rate.
                if found[0] > progress.done:
                    progress.advance(found[0] - progress.done)
            elif line.strip():
                said.append(line.strip())
    if process.returncode < 0:
        said.append(f"ended by {signal.Signals(-process.returncode).name}, as where the memory is too small")
    if process.returncode:
        return list(said or ["nothing"])
    if progress:
        progress.finish()
    return []


@contextmanager
def _child(command: Sequence[str | Path]) -> Iterator[subprocess.Popen[str]]:
    """A program that is not left alone: it would go on writing what its successor writes, whom no lock holds off.

    It has neither the hub nor the hub's token, and nothing answers its questions.
    """
    end_with_parent = _end_with(os.getpid(), ctypes.CDLL(None) if sys.platform == "linux" else None)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=without_hub(os.environ),
        preexec_fn=end_with_parent,
    )
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _end_with(parent: int, libc: ctypes.CDLL | None) -> Callable[[], None]:
    """What a child does before its program starts: it has Linux kill it when its parent is gone, by SIGKILL too."""

    def end_with_parent() -> None:
        if libc:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return end_with_parent
