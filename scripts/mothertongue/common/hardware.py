"""The hardware and software of a measurement, and the memory in use."""

import multiprocessing
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from mothertongue.common import gpus

_PACKAGES = ("ctranslate2", "fxtranslate", "sacrebleu", "sentencepiece", "sentencex", "torch", "transformers")


def description() -> dict[str, Any]:
    """Return processor, cores, CUDA devices, operating system, and versions of Python and packages."""
    return {
        "processor": processor(),
        "cores": cores(),
        "cuda_devices": gpus.query("name"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def processor() -> str:
    """Return the processor's name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(models), platform.processor())


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory() -> int | None:
    """Return the sum of the peak resident memory of this process and its workers, in bytes; None outside Linux."""
    processes = [os.getpid(), *(worker.pid for worker in multiprocessing.active_children())]
    # Not ru_maxrss, which a process inherits from its parent.
    files = [Path(f"/proc/{process}/status") for process in processes]
    lines = [line for file in files if file.is_file() for line in file.read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")) or None


def device_memory(device: str) -> int | None:
    """Return the bytes in use on all CUDA devices; None without one, or where `device` is cpu."""
    used = gpus.query("memory.used") if device != "cpu" else []
    return sum(int(megabytes) for megabytes in used) * 1024**2 if used else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
