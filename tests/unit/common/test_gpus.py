"""Tests of claiming GPUs: the processes on one machine share them, also after one of the processes is killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mothertongue.common import gpus

CLAIM = """
import os, sys
sys.path.insert(0, "scripts")
from mothertongue.common import gpus
if os.geteuid() == 0 and "AS" in os.environ:
    os.setgroups([])
    os.setgid(int(os.environ["AS"]))
    os.setuid(int(os.environ["AS"]))
os.umask(int(os.environ.get("UMASK", "022"), 8))
gpus._PAUSE = 0.05
gpus.claim(int(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def claim(tmp_path):
    """Yield a function that starts a process that claims GPUs of a machine with two and prints the ones it got."""
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


def test_each_job_gets_its_own_gpu_or_waits_for_a_free_one(claim):
    first, second = claim(1), claim(1)
    assert {got(first), got(second)} == {"0", "1"}
    third = claim(1)
    assert "waiting for 1 of this machine's GPUs 0, 1 to be free" in third.stderr.readline()
    # The lock is released however its process ends.
    second.send_signal(signal.SIGKILL)
    free = got(third)
    both = claim(2)
    assert "waiting for 2" in both.stderr.readline()
    first.communicate()
    third.communicate()
    assert free in ("0", "1") and got(both) == "0,1"


def test_a_given_choice_of_visible_gpus_is_respected(claim):
    assert got(claim(1, CUDA_VISIBLE_DEVICES="7")) == "7"
    assert got(claim(4, CUDA_VISIBLE_DEVICES="3,5")) == "3,5"
    assert got(claim(0)) == ""
    # Slurm numbers the GPUs of each job from 0: two jobs may both have GPU 0.
    inside = {"SLURM_JOB_ID": "1", "SLURMD_NODENAME": "node1", "CUDA_VISIBLE_DEVICES": "0"}
    assert got(claim(1, **inside)) == got(claim(1, **inside)) == "0"


def test_without_a_request_the_environment_is_unchanged(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus.claim(None)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.fixture
def shared():
    """Yield a folder that all users can write to, like /tmp."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def test_users_share_the_gpus_with_any_umask(claim, shared):
    place = {"TMPDIR": str(shared), "CUDA_VISIBLE_DEVICES": "0,1"}
    # Run as root, the processes are other users; otherwise all are this user, and only the files' modes can be checked.
    first = claim(1, UMASK="077", AS="65533", **place)
    assert got(first) == "0"
    second = claim(1, UMASK="077", AS="65534", **place)
    assert got(second) == "1"
    third = claim(1, AS="65532", **place)
    assert "waiting for 1 of this machine's GPUs 0, 1" in third.stderr.readline()
    first.send_signal(signal.SIGKILL)
    assert got(third) == "0"
    assert {path.stat().st_mode & 0o777 for path in shared.iterdir()} == {0o666}


def test_a_lock_that_only_its_owner_may_open_counts_as_taken(claim, shared):
    (shared / "mothertongue-gpu-0.lock").touch()
    (shared / "mothertongue-gpu-0.lock").chmod(0 if os.geteuid() else 0o600)
    process = claim(1, TMPDIR=str(shared), CUDA_VISIBLE_DEVICES="0,1", AS="65534")
    assert got(process) == "1"
    assert "GPU 0 counts as taken until its owner removes the file" in process.stderr.readline()


@pytest.mark.parametrize("odd", ["pipe", "link", "folder", "loop"])
def test_an_invalid_lock_file_does_not_block_a_claim(claim, tmp_path, odd):
    path, theirs = tmp_path / "mothertongue-gpu-0.lock", tmp_path / "theirs"
    theirs.write_text("theirs")
    theirs.chmod(0o600)
    makers = {"pipe": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to(theirs)}
    makers.get(odd, lambda path: path.symlink_to(path))(path)
    process = claim(1)
    assert got(process) == "0"
    assert "GPU 0 is used without a lock" in process.stderr.readline()
    assert theirs.read_text() == "theirs" and theirs.stat().st_mode & 0o777 == 0o600


def test_a_gpu_may_have_any_name(claim):
    assert got(claim(1, CUDA_VISIBLE_DEVICES="MIG-GPU-1/2/0")) == "MIG-GPU-1/2/0"
