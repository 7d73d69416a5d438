"""Slurm jobs of an earlier run of the workflow that are still queued after Snakemake was killed on the login node."""

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
    """Wait until no job of an earlier run works in the folder: their outputs need not be made again.

    Raise UserError where they do not make what is requested now (`same_fingerprint`), or Slurm does not answer.
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
    """Return the ids of a user's pending and running jobs that Snakemake submitted from a folder; empty without Slurm.

    The job comment of another program may contain anything, including bars and line breaks. So it comes last, and only
    lines with an id, the folder and a comment of Snakemake's plugin count. Raise UserError where Slurm does not answer.
    """
    if not shutil.which("squeue"):
        return []
    command = ["squeue", "--me", "--noheader", "--format=%A|%Z|%k"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise UserError(f"Slurm does not answer: {done.stderr.strip() or 'squeue failed'}")
    return re.findall(rf"^(\d+)\|{re.escape(str(folder))}\|(?:{JOB_COMMENTS})", done.stdout, re.MULTILINE)
