"""GPUs of a workstation are shared out among processes, also when one of them dies."""

import os
import signal
import subprocess
import sys

import pytest

from mothertongue import gpus

CLAIM = """
import os, sys
sys.path.insert(0, "scripts")
from mothertongue import gpus
gpus._PAUSE = 0.05
gpus.claim(int(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def claim(tmp_path):
    """Start processes that claim GPUs of a machine with two; each gives the GPUs that it got."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 0\necho 1\n")
    tool.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    processes = []

    def claim(count, **more):
        command = [sys.executable, "-c", CLAIM, str(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=environment | more, text=True, **pipes))
        return processes[-1]

    yield claim
    for process in processes:
        process.kill()
        process.communicate()


def got(process):
    return process.stdout.readline().strip()


def test_each_job_sees_its_own_and_waits_where_none_is_free(claim):
    first, second = claim(1), claim(1)
    assert {got(first), got(second)} == {"0", "1"}
    third = claim(1)
    assert "waiting for 1 of this machine's GPUs 0, 1 to be free" in third.stderr.readline()
    # However the other ends.
    second.send_signal(signal.SIGKILL)
    free = got(third)
    both = claim(2)
    assert "waiting for 2" in both.stderr.readline()
    first.communicate()
    third.communicate()
    assert free in ("0", "1") and got(both) == "0,1"


def test_what_the_user_or_slurm_lets_it_see_is_kept_to(claim):
    assert got(claim(1, CUDA_VISIBLE_DEVICES="7")) == "7"
    assert got(claim(4, CUDA_VISIBLE_DEVICES="3,5")) == "3,5"
    assert got(claim(0)) == ""
    # Slurm's own are numbered anew for each job: two jobs may both have GPU 0.
    inside = {"SLURM_JOB_ID": "1", "SLURMD_NODENAME": "node1", "CUDA_VISIBLE_DEVICES": "0"}
    assert got(claim(1, **inside)) == got(claim(1, **inside)) == "0"


def test_no_request_changes_nothing(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus.claim(None)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
