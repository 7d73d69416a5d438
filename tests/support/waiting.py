"""Waiting for events in a cluster."""

import time

# In seconds. A run takes a minute or two; one that takes longer hangs.
LIMIT = 600


def until(condition, seconds=120):
    """Wait until a condition returns a true value, and return it; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.3)
    return found
