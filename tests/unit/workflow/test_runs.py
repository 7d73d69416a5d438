"""Tests of concurrent runs: only one working directory at a time writes to a results folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mothertongue.common.errors import UserError
from mothertongue.workflow import runs

JOIN = """
import sys
from pathlib import Path
from mothertongue.workflow import runs
runs.join(Path(sys.argv[1]), Path(sys.argv[2]))
print("joined", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def join():
    """Yield a function that starts a process that joins the runs on a results folder from a working directory."""
    processes = []

    def join(results, place):
        command = [sys.executable, "-c", JOIN, str(results), str(place)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="scripts"))
        assert processes[-1].stdout.readline() == b"joined\n"
        return processes[-1]

    yield join
    for process in processes:
        process.kill()
        process.communicate()


def test_runs_from_another_directory_are_refused_until_the_last_run_ends(join, tmp_path):
    results, here = tmp_path / "results", tmp_path / "here"
    here.mkdir()
    first, second = join(results, here), join(results, here)
    for ended in (first, second):
        with pytest.raises(UserError, match=f"{results}: a run in {here} is writing there; wait for it"):
            runs.join(results, tmp_path)
        ended.kill()
        ended.wait()
    join(results, tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.with_name("theirs"))])
def test_an_invalid_lock_file_is_reported(tmp_path, make):
    (tmp_path / "theirs").write_text("theirs")
    make(tmp_path / ".runs.lock")
    with pytest.raises(UserError, match=f"{tmp_path}/.runs.lock: "):
        runs.join(tmp_path, Path.cwd())
    assert (tmp_path / "theirs").read_text() == "theirs"
