"""What went wrong, said in one line."""

import sys
from collections.abc import Callable
from pathlib import Path

# What the hub's client raises where it is switched off, as it is in all steps but those that fetch.
_OFFLINE = {"OfflineModeIsEnabled", "LocalEntryNotFoundError"}


class UserError(Exception):
    """The input, the configuration or the machine is at fault: one line says what, where, and what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a program; a UserError ends it with one line on stderr and exit code 1, a bug with its traceback."""
    try:
        main()
    except UserError as error:
        message = " ".join(str(error).split())
        sys.exit(f"{Path(sys.argv[0]).name}: error: {message}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if type(error).__name__ not in _OFFLINE:
            raise
        reason = " ".join(str(error).split())[:300]
        name = Path(sys.argv[0]).name
        sys.exit(f"{name}: error: this step asked the network, which only the fetch steps do: {reason}")
