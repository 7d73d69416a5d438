"""Training in several processes of this machine, one per GPU: launching and synchronising them.

`launch` uses torchrun's launcher; processes of other launchers (accelerate launch, torchrun itself) are recognised by
their environment variables.
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
    """Return the rank of this process, from 0; 0 for a single process."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched() -> bool:
    """Return whether a distributed launcher started this process."""
    return "WORLD_SIZE" in os.environ and "LOCAL_RANK" in os.environ


def launch(processes: int) -> int:
    """Run this command in several processes; return the exit code, 0 where all of them succeed.

    Raise UserError where there are GPUs, but fewer than processes. SIGTERM and SIGINT are forwarded to the processes,
    which save a checkpoint and stop; this process waits for them.
    """
    seen = gpus.visible()
    if 0 < len(seen) < processes:
        raise UserError(f"tuning.gpus is {processes}, and this machine has {len(seen)} free for it; lower it")

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes log their errors
    # Divide the cores among the processes: by default each would use all of them.
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
        signals_to_handle="SIGHUP",  # on SIGTERM and SIGINT it would kill processes that are writing a checkpoint
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
    """Return the logical or of each flag over all processes."""
    flags = list(flags)
    if world_size() == 1:
        return flags
    import torch.distributed
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available())  # initialises the process group on the first call
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    agreed = torch.tensor([int(flag) for flag in flags], device=device)
    torch.distributed.all_reduce(agreed, op=torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in agreed.tolist()]


def fsdp_arguments(path: Path) -> dict[str, Any]:
    """Return the TrainingArguments of fully sharded training (FSDP) from a configuration file of accelerate.

    Raise UserError where the file does not configure FSDP.
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
    """Block until every process has called this."""
    any_of([False])


def _hand_on(number: int, frame: Any) -> None:
    import psutil

    for child in psutil.Process().children():
        child.send_signal(number)
