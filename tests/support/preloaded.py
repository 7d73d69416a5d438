"""Running Python programs one after another in forks of a process that has loaded their libraries, to save seconds."""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from paths import ROOT


class Preloaded:
    """A process that forks for each program; each program has its own environment and folder."""

    def __init__(self, modules, environment=None):
        self.process = subprocess.Popen(
            [sys.executable, __file__, *modules], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, program, *arguments, stdin, output, seconds=120, folder=ROOT, environment=None):
        """Run a file, or a module like `python -m`; return its exit code and its output.

        `stdin` and `output` are files. The default environment is that of the forking process.
        """
        request = {
            "program": str(program),
            "arguments": list(map(str, arguments)),
            "stdin": str(stdin),
            "output": str(output),
            "seconds": seconds,
            "folder": str(folder),
            "environment": environment,
        }
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline()), output.read_text(encoding="utf-8", errors="replace")

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def become(request):
    """Run the requested program in this process until it ends."""
    signal.alarm(request["seconds"])
    for number, (name, mode) in enumerate(
        [("stdin", os.O_RDONLY), *[("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)] * 2]
    ):
        os.dup2(os.open(request[name], mode), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(request["folder"])
    if request["environment"] is not None:
        os.environ.clear()
        os.environ.update(request["environment"])
    # The rules run their programs with Snakemake's sys.executable.
    sys.executable = os.environ.get("PYTHON_OF_RULES", sys.executable)
    sys.argv = [request["program"], *request["arguments"]]
    if request["program"].endswith(".py"):
        sys.path[0] = str(Path(request["program"]).parent)
        runpy.run_path(request["program"], run_name="__main__")
    else:
        sys.path[0] = request["folder"]
        runpy.run_module(request["program"], run_name="__main__", alter_sys=True)


def freeze():
    """Exclude all current objects from garbage collection, so that forks keep sharing their memory."""
    gc.collect()
    gc.freeze()


def serve():
    freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(ended(become, json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def ended(program, *arguments):
    """Run a program and return its exit code; print its error as Python does."""
    code = 0
    try:
        program(*arguments)
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    for module in sys.argv[1:]:
        importlib.import_module(module)
    serve()
