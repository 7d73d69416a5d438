"""Slurm jobs that an earlier run of the workflow left in the queue, when Snakemake was killed on the login node."""

import re
import shutil
import subprocess
import time
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.workflow.snakemake_internals import JOB_COMMENTS

_PAUSE = 10.0


def wait_for_earlier(folder: Path, same_fingerprint: bool) -> None:
    """Wait until no job of an earlier run works in the folder: what they make need not be made again.

    Raises UserError where they do not make what is asked for now (`same_fingerprint`), or Slurm does not answer.
    """
    said = 0
    while jobs := earlier(folder):
        names = " ".join(jobs)
        if not same_fingerprint:
            raise UserError(
                f"{len(jobs)} Slurm jobs of an earlier run work in this folder with another configuration or other "
                f"code; wait for them, or cancel them: scancel {names}"
            )
        if len(jobs) != said:
            log(f"waiting for {len(jobs)} Slurm jobs of an earlier run; to cancel them instead: scancel {names}")
        said = len(jobs)
        time.sleep(_PAUSE)


def earlier(folder: Path) -> list[str]:
    """The ids of a user's jobs that Snakemake submitted from a folder, pending and running; none without Slurm.

    The comment of a job of another program may hold anything, bars and line breaks too: it stands last, and what is not
    an id, the folder and a comment of Snakemake's plugin is not ours.
    """
    if not shutil.which("squeue"):
        return []
    command = ["squeue", "--me", "--noheader", "--format=%A|%Z|%k"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise UserError(f"Slurm does not answer: {done.stderr.strip() or 'squeue failed'}")
    return re.findall(rf"^(\d+)\|{re.escape(str(folder))}\|(?:{JOB_COMMENTS})", done.stdout, re.MULTILINE)
