"""Progress of long tasks as plain lines on stderr: items, rate, time left."""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from mothertongue.common.plain_text import one_line

# Maximum number of characters of a name in a list.
_NAME = 60
# After this many lines the interval grows to 1/_LINES of the elapsed time: as many lines again take until about three
# times that time, and so on.
_LINES = 50


class Progress:
    """Logs progress at most every `interval` seconds, and less often in long tasks, to keep logs short.

    `unit` is a plural in -s.
    """

    def __init__(self, task: str, total: int, unit: str, interval: float = 5.0) -> None:
        self.task, self.total, self.unit, self.interval = task, total, unit, interval
        self.done = 0
        self.started = self.said = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count `count` more items as done."""
        self.done += count
        now = time.monotonic()
        if self.done and now - self.said >= self.interval and now - self.said >= (now - self.started) / _LINES:
            self.said = now
            rate = self.done / (now - self.started)
            left = (self.total - self.done) / rate
            log(f"{self.task}: {self.done:,} of {self.total:,} {self.unit}, {rate:,.1f}/s, {duration(left)} left")

    def finish(self) -> None:
        """Log the total and the mean rate."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = self.done / seconds
        unit = self.unit.removesuffix("s") if self.done == 1 else self.unit
        log(f"{self.task}: {self.done:,} {unit} in {duration(seconds)}, {rate:,.1f}/s")


def log(line: str) -> None:
    """Print one line to stderr, flushed; of several training processes only the first prints it."""
    if os.environ.get("RANK", "0") != "0":
        return
    # The tee of a rule may already have been ended by the signal on which this program saves its work and stops.
    with suppress(BrokenPipeError):
        print(one_line(line), file=sys.stderr, flush=True)


def first(names: Sequence[str], limit: int = 10) -> str:
    """Format the first names, truncated to _NAME characters each, with the number of further ones."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(name if len(name) <= _NAME else f"{name[:_NAME]}..." for name in names[:limit]) + more


def duration(seconds: float) -> str:
    """Format seconds: `8.2 s`, `3 min 20 s`, `5 h 2 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
