"""What went wrong, said in one line."""

import sys
from collections.abc import Callable
from pathlib import Path


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
