"""Training on several processes of this machine, one a GPU: starting them, and what they must agree on.

The processes are started by torchrun's launcher; what another one started (accelerate launch, torchrun itself) is known
by its environment.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from mothertongue.common import gpus
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log

_STOP = (signal.SIGTERM, signal.SIGINT)


def rank() -> int:
    """The number of this process, from 0; 0 where there is but one."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched() -> bool:
    """Whether a launcher started this process beside others."""
    return "WORLD_SIZE" in os.environ and "LOCAL_RANK" in os.environ


def launch(processes: int) -> int:
    """Run this very command in so many processes; returns the exit code, 0 where all of them ended well.

    Raises UserError where there are GPUs, and fewer.

    SIGTERM and SIGINT are handed on to them and not answered here: they stop when they have saved their work.
    """
    seen = gpus.visible()
    if 0 < len(seen) < processes:
        raise UserError(f"tuning.gpus is {processes}, and this machine has {len(seen)} free for it; lower it")

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes say what went wrong
    # What one process alone would use, shared out: each would else take all cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    for number in _STOP:
        signal.signal(number, _hand_on)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=str(os.getpid()),
        max_restarts=0,
        monitor_interval=0.5,
        signals_to_handle="SIGHUP",  # at the others it would kill what is still saving its work
    )
    try:
        elastic_launch(config, sys.executable)(*sys.argv)
    except ChildFailedError as error:
        for rank, failure in sorted(error.failures.items()):
            if failure.exitcode < 0:
                log(f"tune: process {rank} was ended by {signal.Signals(-failure.exitcode).name}")
        return max(failure.exitcode for failure in error.failures.values()) or 1
    return 0


def any_of(flags: Iterable[bool]) -> list[bool]:
    """Each flag as it is in any of the processes: all of them get the same."""
    flags = list(flags)
    if world_size() == 1:
        return flags
    import torch.distributed
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available())  # makes them known to one another, the first time
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    agreed = torch.tensor([int(flag) for flag in flags], device=device)
    torch.distributed.all_reduce(agreed, op=torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in agreed.tolist()]


def fsdp_arguments(path: Path) -> dict[str, Any]:
    """The TrainingArguments of fully sharded training, from accelerate's configuration file.

    Raises UserError where it does not configure that.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    settings = content.get("fsdp_config") if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: no fsdp_config in it; config/accelerate/fsdp.yaml is one")
    return {"fsdp": True, "fsdp_config": settings}


def wait_for_all() -> None:
    """Go on when every process has come so far."""
    any_of([False])


def _hand_on(number: int, frame: Any) -> None:
    import psutil

    for child in psutil.Process().children():
        child.send_signal(number)
