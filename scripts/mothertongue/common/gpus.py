"""The GPUs of this machine, shared out among the jobs that run on it side by side.

Slurm gives each job its own; on a workstation nobody does, and every job would take the first.
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

# Open for as long as the process lives: their locks are what others see.
_held: list[int] = []
_PAUSE = 1.0


def claim(count: int | None) -> None:
    """Let this process see `count` GPUs that no other process has claimed; wait where there are not so many free.

    None leaves all to be seen, 0 none. Inside a Slurm job nothing is done: the GPUs to be seen are the job's own. On a
    machine with fewer than `count` all are claimed. Call it before CUDA is used.
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
    """Add the argument that `claim` takes to an argparse parser or group."""
    otherwise = "" if default else " (default: see all)"
    parser.add_argument(
        "--gpus", type=int, default=default, help=f"take so many free GPUs of this machine, wait for them{otherwise}"
    )


def visible() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [device.strip() for device in named.split(",") if device.strip()]
    return query("index")


def query(field: str) -> list[str]:
    """What nvidia-smi says of each GPU of the machine; empty without one."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()


def _lock(devices: list[str], wanted: int) -> list[str]:
    """The first `wanted` devices that nobody holds, now held; all or none, so that two processes never wait in turn."""
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
    """The handle that holds a GPU, None where somebody else may have it. Where there can be no lock it is free."""
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
        with suppress(PermissionError):  # another user's, who has done it
            os.fchmod(handle, 0o666)  # whatever this user's umask: others have to open it
    return handle


@cache
def _say_once(line: str) -> None:
    log(line)
