"""Waiting for what a cluster does in its own time."""

import time

# Seconds. A run takes a minute or two; what takes longer hangs.
LIMIT = 600


def until(condition, seconds=120):
    """What a condition gives once it gives anything; fails where it never does."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.3)
    return found
