"""What went wrong, said in one line."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

# What the hub's client raises where it is switched off, as it is in all steps but those that fetch.
_OFFLINE = {"OfflineModeIsEnabled", "LocalEntryNotFoundError"}
# Seconds in which the first of several processes meets what another has met.
_PATIENCE = 60


class UserError(Exception):
    """The input, the configuration or the machine is at fault: one line says what, where, and what to do."""


class OwnError(UserError):
    """A UserError of one of several processes that train together, which the others do not meet."""


def run(main: Callable[[], None]) -> None:
    """Run a program; a UserError ends it with one line on stderr and exit code 1, a bug with its traceback.

    Of several processes that train together the first says the line for all.
    """
    try:
        main()
    except UserError as error:
        _end(1, str(error), isinstance(error, OwnError))
    except KeyboardInterrupt:
        _end(130)
    except Exception as error:
        if type(error).__name__ not in _OFFLINE:
            raise
        _end(1, f"this step asked the network, which only the fetch steps do: {str(error)[:300]}")
    _end(0)


def _leave_it_to_the_first(code: int) -> None:
    """Wait for the launcher to end this process, as it does once the first has said the line and ended.

    Where this one ended before, the launcher would end the first, and nobody would have said it.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    time.sleep(_PATIENCE)


def _end(code: int, message: str = "", own: bool = False) -> None:
    rank = os.environ.get("RANK", "0")
    process = f"process {rank}: " if own and "LOCAL_RANK" in os.environ else ""
    line = f"{Path(sys.argv[0]).name}: error: {process}{' '.join(message.split())}" if message else ""
    if "LOCAL_RANK" in os.environ:
        if line and not own and rank != "0":
            _leave_it_to_the_first(code)
        if line:
            print(line, file=sys.stderr)
        # Torch's gloo may wait for ever where its last reference goes: a thread of its own waits for the interpreter.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code:
        sys.exit(line or code)
