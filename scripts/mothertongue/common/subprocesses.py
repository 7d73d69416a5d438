"""External programs that a step runs: their progress is logged, and they end with the step, however it ends."""

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

# Parses (done, total) from a line of a program's stderr; None for a line that is not progress.
Reached = Callable[[str], tuple[int, int] | None]

# Number of last lines to keep as explanation of a failure.
_TAIL = 20
_PR_SET_PDEATHSIG = 1


def run(command: Sequence[str | Path], reached: Reached, task: str, unit: str) -> list[str]:
    """Run a program and log its progress; return its last lines where it failed, with the reason last, else none.

    Only its stderr is read.
    """
    said: deque[str] = deque(maxlen=_TAIL)
    progress = None
    with _child(command) as process:
        for line in process.stderr or ():
            if found := reached(line):
                progress = progress or Progress(task, found[1], unit)
                # Progress computes a rate, which needs a positive count.
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
    """Yield a running program that is killed with this process.

    Otherwise it would keep writing the files of the next run, for which the lock ends with this process. The program
    runs offline, without the hub's token and without stdin.
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
    """Return a preexec_fn that has Linux kill the child when its parent ends, even by SIGKILL."""

    def end_with_parent() -> None:
        if libc:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return end_with_parent
