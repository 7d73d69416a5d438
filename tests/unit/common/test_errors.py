"""Tests of how programs end: an error is one line, a bug is a traceback, and no partial output remains."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mothertongue.common import errors

ASKING = """
import sys
sys.path.insert(0, "scripts")
from mothertongue.common.errors import run
def main():
    {call}
run(main)
"""


def ended(call):
    done = subprocess.run([sys.executable, "-c", ASKING.format(call=call)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.strip().splitlines()


def test_a_step_that_uses_the_network_fails_at_once_with_one_line():
    for call in ("hf_hub_download('owner/name', 'config.json')", "HfApi().model_info('owner/name')"):
        code, lines = ended(f"from huggingface_hub import hf_hub_download, HfApi; {call}")
        assert code == 1 and len(lines) == 1, lines
        assert "error: this step asked the network, which only the fetch steps do" in lines[0]


def test_a_bug_prints_its_traceback():
    code, lines = ended("1 / 0")
    assert code == 1 and lines[0].startswith("Traceback") and lines[-1].startswith("ZeroDivisionError")


def test_a_missing_file_is_reported_in_one_line():
    assert ended("open('/none/at/all')") == (1, ["-c: error: /none/at/all: No such file or directory"])


def test_a_very_long_error_message_is_shortened():
    code, (line,) = ended(
        "from mothertongue.common.errors import UserError; raise UserError('x' * 10**6 + '; do this')"
    )
    assert code == 1 and len(line) < 2100 and line.endswith("; do this")


@pytest.mark.costly
@pytest.mark.parametrize("ends", ["program", "snakemake"])
def test_a_program_ends_on_sigterm_or_with_its_snakemake_and_leaves_no_files(tmp_path, ends):
    code = "import sys, time; sys.path.insert(0, 'scripts')\nfrom pathlib import Path\n"
    code += "from mothertongue.common import atomic_files, errors\ndef main():\n"
    code += f"    with atomic_files.atomic_folder(Path({str(tmp_path / 'output')!r})) as folder:\n"
    code += "        (folder / 'half').touch(); print('writing', flush=True); time.sleep(60)\nerrors.run(main)"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as snakemake:
        environment = os.environ | {"MOTHERTONGUE_SNAKEMAKE": str(snakemake.pid)}
        with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as program:
            assert program.stdout.readline() == b"writing\n"
            if ends == "program":
                program.terminate()
            else:
                snakemake.kill()
                snakemake.wait(timeout=20)
            assert program.wait(timeout=20) == 128 + signal.SIGTERM
        assert not list(tmp_path.iterdir())
        snakemake.kill()


def test_a_program_ends_if_its_snakemake_ended_during_startup():
    with subprocess.Popen([sys.executable, "-c", "pass"]) as snakemake:
        snakemake.wait(timeout=20)
    place = errors.this_process().partition(" ")[2]
    code = "import sys, time; sys.path.insert(0, 'scripts')\nfrom mothertongue.common import errors\n"
    code += "errors.run(lambda: time.sleep(60))"
    environment = os.environ | {"MOTHERTONGUE_SNAKEMAKE": f"{snakemake.pid} {place}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=30)
    assert done.returncode == 128 + signal.SIGTERM


def test_sigterm_ends_a_program_whose_import_swallows_every_exception():
    code = (
        "import sys, time; sys.path.insert(0, 'scripts')\nfrom mothertongue.common import errors\nerrors._AGAIN = 0.5\n"
    )
    code += "def main():\n    try:\n        print('importing', flush=True); time.sleep(60)\n"
    code += "    except BaseException:\n        time.sleep(60)\nerrors.run(main)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"importing\n"
        program.terminate()
        try:
            assert program.wait(timeout=30) == 128 + signal.SIGTERM
        finally:
            program.kill()


def test_of_several_processes_only_the_first_prints_the_error():
    """The launcher ends all processes once one has ended: the others wait for that and print nothing."""
    code = "import sys; sys.path.insert(0, 'scripts')\nfrom mothertongue.common.errors import UserError, run\n"
    code += "def main():\n    print('met', flush=True)\n    raise UserError('no data')\nrun(main)"

    def start(rank):
        environment = os.environ | {"RANK": rank, "LOCAL_RANK": rank}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes)

    second, first = start("1"), start("0")
    assert first.communicate(timeout=60) == ("met\n", "-c: error: no data\n") and first.returncode == 1
    assert second.stdout.readline() == "met\n"
    time.sleep(0.5)
    assert second.poll() is None
    second.terminate()
    assert second.communicate(timeout=60) == ("", "") and second.returncode == 1


@pytest.mark.parametrize(("main", "code", "expected"), [
    ("for n in range(100_000): print(n)", 141, ""),
    ("raise BrokenPipeError('of a worker')", 1, "BrokenPipeError: of a worker"),
])  # fmt: skip
def test_a_reader_that_has_enough_ends_a_program_without_a_word(main, code, expected):
    """Only its own output counts: the broken pipe of a worker process is an error."""
    program = f"from mothertongue.common.errors import run\ndef main():\n    {main}\nrun(main)"
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": "scripts"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if code == 141:
            process.stdout.readline()
            process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == code and expected in said and bool(said) == bool(expected)


def test_a_program_without_an_output_ends_well():
    program = "from mothertongue.common.errors import run\nrun(lambda: None)"
    command = ["sh", "-c", '"$0" -c "$1" >&-', sys.executable, program]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": "scripts"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
