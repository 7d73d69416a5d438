"""Measuring the CPU time of rendering."""

import gc
import os
from collections.abc import Callable

from mothertongue.prompts import rendering


def cost(*calls: Callable[[], object]) -> float:
    """Return the lowest CPU time of the calls in seconds, including that of the processes that render templates."""
    _end_renderers()
    # Exclude the objects of earlier tests from garbage collection.
    gc.freeze()
    try:
        return min(map(_seconds, calls))
    finally:
        gc.unfreeze()


def grows_in_line(short: Callable[[], object], long: Callable[[], object], spare: float = 0) -> bool:
    """Return whether the long call takes less than eight times as long as the short one, in the better of two tries."""
    limit = spare + 8 * cost(short, short)
    return any(cost(long) < limit for _ in range(2))


def _seconds(call: Callable[[], object]) -> float:
    before = os.times()
    call()
    # The CPU time of a child process is counted only after its end.
    _end_renderers()
    return sum(os.times()[:4]) - sum(before[:4])


def _end_renderers() -> None:
    rendering.renderer.cache_clear()
    gc.collect()
