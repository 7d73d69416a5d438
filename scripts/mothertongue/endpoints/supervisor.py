"""Program: run a server until standard input ends, then end it with all processes that it started.

    python supervisor.py COMMAND ...

The program that starts it holds the other end of standard input. However that program ends, the server does not stay.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

# Seconds that a server has to end by itself.
_PATIENCE = 10.0


def main() -> None:
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The end of standard input follows, or tells nothing new.
        signal.signal(number, lambda *_: _end(server))
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    code = server.wait()
    _signal(server, signal.SIGKILL)
    sys.exit(code if code >= 0 else 128 - code)


def _end_with_input(server: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    _signal(server, signal.SIGTERM)
    forced = threading.Timer(_PATIENCE, _signal, (server, signal.SIGKILL))
    forced.daemon = True
    forced.start()


def _signal(server: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the server and the processes that it started, which are of its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, number)


if __name__ == "__main__":
    main()
