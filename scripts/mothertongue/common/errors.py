"""How a program ends: what went wrong is said in one line, and nothing is left behind."""

import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mothertongue.common.plain_text import guard_streams, one_line

# What the hub's client raises where it is switched off, as it is in all steps but those that fetch.
_OFFLINE = {"OfflineModeIsEnabled", "LocalEntryNotFoundError"}
# The Snakemake that runs a program, as `this_process` says it there: rules/common.smk sets it.
_SNAKEMAKE = "MOTHERTONGUE_SNAKEMAKE"
# The most characters of a line: its end, where what to do stands, and a beginning.
_LONGEST, _TAIL = 2000, 500
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# Seconds in which the first of several processes meets what another has met.
_PATIENCE = 60
# Seconds that a program has to end by SIGTERM before it is told again.
_AGAIN = 10


class UserError(Exception):
    """The input, the configuration or the machine is at fault: one line says what, where, and what to do."""


class OwnError(UserError):
    """A UserError of one of several processes that train together, which the others do not meet."""


def run(main: Callable[[], None], hub: bool = False) -> None:
    """Run a program; a UserError ends it with one line on stderr and exit code 1, a bug with its traceback.

    Without `hub` it has neither the model hub nor the hub's token, also where a person runs it by hand.
    SIGTERM ends it as an error would, with nothing left half written; so does the end of the Snakemake that runs it.
    What it prints acts on no terminal: see plain_text.visible.
    Of several processes that train together the first says the line for all, and the launcher ends the others.
    """
    guard_streams()
    os.environ["HF_MODULES_CACHE"] = os.devnull  # the place of models' own code, which nobody runs
    if not hub:
        kept = without_hub(os.environ)
        for name in set(os.environ) - set(kept):
            del os.environ[name]
        os.environ.update(kept)
        # The client reads the switch when it is imported, as it is by what renders templates.
        if client := sys.modules.get("huggingface_hub.constants"):
            vars(client)["HF_HUB_OFFLINE"] = True
    if "LOCAL_RANK" not in os.environ:
        signal.signal(signal.SIGTERM, _exit)
        _end_with_snakemake()
    try:
        main()
    except UserError as error:
        _end(1, str(error), isinstance(error, OwnError))
    except KeyboardInterrupt:
        _end(130)
    except Exception as error:
        if type(error).__name__ in _OFFLINE:
            _end(1, f"this step asked the network, which only the fetch steps do: {str(error)[:300]}")
        if not isinstance(error, OSError) or not error.filename:
            raise
        _end(1, f"{error.filename}: {error.strerror}")
    _end(0)


def without_hub(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that does not ask the model hub: its client is switched off, without a token.

    The place of models' own code, which nobody runs, is one that nothing can be written to.
    """
    kept = {name: value for name, value in environment.items() if name not in _TOKENS}
    return kept | {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": os.devnull}


def _exit(number: int, frame: Any) -> None:
    """End by a signal; again and again, since some packages swallow every exception while they are imported."""
    again = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
    sys.exit(128 + number)


def _end_with_snakemake() -> None:
    """Have this program end, as by SIGTERM, soon after the Snakemake that runs it.

    One that outlives it would write a result of which no later run knows by which settings it was made.
    """
    number, _, place = os.getenv(_SNAKEMAKE, "0").partition(" ")
    snakemake = int(number)

    def wait() -> None:
        while _lives(snakemake):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    # Another machine's, or that of a container which sees no process outside, is not to be seen; one from here that is
    # not there ended while this program started.
    if snakemake and (place == _place() or _lives(snakemake)):
        threading.Thread(target=wait, daemon=True).start()


def this_process() -> str:
    """This process by its id, and by where that id is known: the machine, and on Linux the namespace of processes."""
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
        pass  # it lives, and is another user's
    return True


def _leave_it_to_the_first(code: int) -> None:
    """Wait for the launcher to end this process, as it does once the first has said the line and ended.

    Where this one ended before, the launcher would end the first, and nobody would have said it.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    time.sleep(_PATIENCE)


def _end(code: int, message: str = "", own: bool = False) -> None:
    rank = os.environ.get("RANK", "0")
    process = f"process {rank}: " if own and "LOCAL_RANK" in os.environ else ""
    line = f"{Path(sys.argv[0]).name}: error: {process}{_line_of(message)}" if message else ""
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


def _line_of(message: str) -> str:
    line = one_line(" ".join(message.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - _TAIL]} ... {line[-_TAIL:]}"
