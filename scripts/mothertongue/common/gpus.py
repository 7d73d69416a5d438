"""Allocation of this machine's GPUs to concurrent jobs.

Slurm allocates GPUs to its jobs; on a workstation, every job would use the first GPU.
"""

import os
import re
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import lock
from mothertongue.common.progress import log

# Handles that stay open until the process ends: their locks mark the GPUs as taken.
_held: list[int] = []
_PAUSE = 1.0


def claim(count: int | None) -> None:
    """Restrict this process to `count` GPUs that no other process has claimed; wait until as many are free.

    None leaves all visible, 0 hides all. In a Slurm job change nothing: the visible GPUs are the job's. On a machine
    with fewer than `count` GPUs claim all. Call this before CUDA is initialised.
    """
    if count is None:
        return
    node = os.environ.get("SLURMD_NODENAME")
    if node:
        log(f"runs on {node}, GPUs {os.environ.get('CUDA_VISIBLE_DEVICES') or 'none'}")
        return
    devices = visible() if count else []
    wanted = min(count, len(devices))
    waiting = False
    while len(taken := _lock(devices, wanted)) < wanted:
        if not waiting:
            log(f"waiting for {wanted} of this machine's GPUs {', '.join(devices)} to be free")
        waiting = True
        time.sleep(_PAUSE)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    log(f"runs on {socket.gethostname()}, GPUs {', '.join(taken) or 'none'}")


def add_argument(parser: Any, default: int | None = None) -> None:
    """Add the argument --gpus, for `claim`, to an argparse parser or group."""
    otherwise = "" if default else " (default: see all)"
    parser.add_argument(
        "--gpus", type=int, default=default, help=f"take so many free GPUs of this machine, wait for them{otherwise}"
    )


def visible() -> list[str]:
    """Return the GPUs that this process may use, in the notation of CUDA_VISIBLE_DEVICES."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [device.strip() for device in named.split(",") if device.strip()]
    return query("index")


def query(field: str) -> list[str]:
    """Query a field of nvidia-smi for each GPU of the machine; return an empty list without GPUs."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()


def _lock(devices: list[str], wanted: int) -> list[str]:
    """Lock the first `wanted` free devices and return them; none where fewer are free, to avoid deadlocks."""
    taken: dict[str, int] = {}
    for device in devices:
        if len(taken) == wanted:
            break
        if (handle := _lock_one(device)) is not None:
            taken[device] = handle
    if len(taken) < wanted:
        for handle in taken.values():
            os.close(handle)
        return []
    _held.extend(taken.values())
    return list(taken)


def _lock_one(device: str) -> int | None:
    """Lock a GPU and return the handle; None where another process may use it.

    A GPU counts as taken where another user's lock file cannot be opened, and as free where locking fails otherwise.
    """
    path = Path(tempfile.gettempdir(), f"mothertongue-gpu-{re.sub(r'[^A-Za-z0-9-]', '-', device)}.lock")
    try:
        handle = lock(path)
    except OSError as error:
        if isinstance(error, PermissionError) and os.path.lexists(path):
            _say_once(f"{path}: {error.strerror}: GPU {device} counts as taken until its owner removes the file")
            return None
        _say_once(f"{path}: {error.strerror}: GPU {device} is used without a lock, and others may use it too")
        return os.open(os.devnull, os.O_RDONLY)
    if handle is not None:
        with suppress(PermissionError):  # another user's file, of which the mode is already set
            os.fchmod(handle, 0o666)  # regardless of the umask: other users have to open it
    return handle


@cache
def _say_once(line: str) -> None:
    log(line)
