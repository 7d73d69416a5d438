"""Errors and exits of the programs: an error is one line on stderr, and no partial output remains."""

import os
import platform
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mothertongue.common.plain_text import guard_streams, one_line

# Exceptions of the hub's client in offline mode, which all steps use except those that fetch.
_OFFLINE = {"OfflineModeIsEnabled", "LocalEntryNotFoundError"}
# Environment variable with `this_process` of the Snakemake that runs a program, set by rules/common.smk.
_SNAKEMAKE = "MOTHERTONGUE_SNAKEMAKE"
# Maximum number of characters of an error line, and of its end, which is kept: it has the advice.
_LONGEST, _TAIL = 2000, 500
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# Seconds to wait for the first of several processes to meet the same error.
_PATIENCE = 60
# Seconds to wait for a program to end after SIGTERM before the signal is sent again.
_AGAIN = 10


class UserError(Exception):
    """An error in the input, the configuration or the machine; its line has the problem, the place and the remedy."""


class OwnError(UserError):
    """A UserError of one training process that the other processes do not raise."""


def run(main: Callable[[], None], hub: bool = False) -> None:
    """Run a program; a UserError ends it with one line on stderr and exit code 1, a bug with a traceback.

    Without `hub` the model hub is offline and the hub's token removed, also outside Snakemake. SIGTERM raises
    SystemExit, so that partial output is removed; the end of the Snakemake that runs the program has the same effect.
    Where the reader of the output ends, as `head` does, the program ends as by SIGPIPE, without a word.
    Output is escaped for terminals: see plain_text.visible. Of several training processes the first prints the error
    line, and the launcher ends the others.
    """
    guard_streams()
    os.environ["HF_MODULES_CACHE"] = os.devnull  # custom code of models is never run
    if not hub:
        kept = without_hub(os.environ)
        for name in set(os.environ) - set(kept):
            del os.environ[name]
        os.environ.update(kept)
        # The client reads the environment on import, and importing the rendering of templates imports it.
        if client := sys.modules.get("huggingface_hub.constants"):
            vars(client)["HF_HUB_OFFLINE"] = True
    if "LOCAL_RANK" not in os.environ:
        signal.signal(signal.SIGTERM, _exit)
        _end_with_snakemake()
    try:
        main()
        if sys.stdout:  # None where the caller closed it
            sys.stdout.flush()
    except UserError as error:
        _end(1, str(error), isinstance(error, OwnError))
    except KeyboardInterrupt:
        _end(130)
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        # What is still to be written goes nowhere, or Python would complain at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _end(128 + signal.SIGPIPE)
    except Exception as error:
        if type(error).__name__ in _OFFLINE:
            _end(1, f"this step asked the network, which only the fetch steps do: {str(error)[:300]}")
        if not isinstance(error, OSError) or not error.filename:
            raise
        _end(1, f"{error.filename}: {error.strerror}")
    _end(0)


def without_hub(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that does not use the model hub: offline and without a token.

    The cache for custom code of models, which is never run, is /dev/null, so that nothing can be written there.
    """
    kept = {name: value for name, value in environment.items() if name not in _TOKENS}
    return kept | {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": os.devnull}


def _exit(number: int, frame: Any) -> None:
    """End the program on a signal; repeat it, since some packages swallow all exceptions during import."""
    again = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
    sys.exit(128 + number)


def _end_with_snakemake() -> None:
    """End this program by SIGTERM soon after the Snakemake that runs it.

    Otherwise it would write a result without a record of its settings for later runs.
    """
    number, _, place = os.getenv(_SNAKEMAKE, "0").partition(" ")
    snakemake = int(number)

    def wait() -> None:
        while _lives(snakemake):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    # A Snakemake on another machine or outside this container is not visible: do nothing. One from here that is not
    # visible ended while this program started.
    if snakemake and (place == _place() or _lives(snakemake)):
        threading.Thread(target=wait, daemon=True).start()


def this_process() -> str:
    """Return the id of this process with its scope: the machine, and on Linux the PID namespace."""
    return f"{os.getpid()} {_place()}"


def _place() -> str:
    namespace = Path("/proc/self/ns/pid")
    return f"{platform.node()} {namespace.readlink() if namespace.is_symlink() else ''}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it exists, and belongs to another user
    return True


def _leave_it_to_the_first(code: int) -> None:
    """Wait for the launcher to end this process, after the first process has printed the error line and exited.

    If this process exited before, the launcher would end the first one before it prints the line.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    time.sleep(_PATIENCE)


def _output_is_closed() -> bool:
    """Return whether the reader of the output, such as `head`, has ended."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _end(code: int, message: str = "", own: bool = False) -> None:
    rank = os.environ.get("RANK", "0")
    process = f"process {rank}: " if own and "LOCAL_RANK" in os.environ else ""
    line = f"{Path(sys.argv[0]).name}: error: {process}{_line_of(message)}" if message else ""
    if "LOCAL_RANK" in os.environ:
        if line and not own and rank != "0":
            _leave_it_to_the_first(code)
        if line:
            print(line, file=sys.stderr)
        # Not a normal exit: on destruction, torch's gloo can deadlock with its thread that waits for the interpreter.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code:
        sys.exit(line or code)


def _line_of(message: str) -> str:
    line = one_line(" ".join(message.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - _TAIL]} ... {line[-_TAIL:]}"
