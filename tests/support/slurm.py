"""A Slurm cluster of two nodes with two GPUs each on this machine, for the duration of the tests.

It needs Debian's packages slurm-wlm and munge, and root: the daemons read /etc/slurm. The GPUs are terminal devices,
which Slurm allocates like GPUs; no job uses them.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
MARK = "# Written by Mothertongue's tests."
NODES = ("gpu1", "gpu2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")

_SLURM_CONF = """{mark}
ClusterName=mothertongue
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/%n.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/%n.log
SlurmctldPort=16817
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
GresTypes=gpu
KillWait=5
MinJobAge=300
ReturnToService=2
SlurmdTimeout=10
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17001 CPUs=16 RealMemory=100000 Gres=gpu:2
NodeName=gpu2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17002 CPUs=16 RealMemory=100000 Gres=gpu:2
PartitionName=gpu Nodes=gpu1,gpu2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=gpu1,gpu2 MaxTime=INFINITE State=UP PriorityTier=10
"""
_GRES_CONF = """{mark}
NodeName=gpu1 Name=gpu File=/dev/tty[10-11]
NodeName=gpu2 Name=gpu File=/dev/tty[20-21]
"""


def _path() -> str:
    """Return the search path of programs, with the folders of daemons, which are not on every user's PATH."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def missing() -> str | None:
    """Return why no cluster can be started here; None if one can."""
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if lacking:
        return f"Slurm is not installed here ({', '.join(lacking)}); Debian's packages slurm-wlm and munge have it"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    if CONFIGURATION.exists() and MARK not in CONFIGURATION.read_text():
        return f"this machine belongs to a Slurm cluster ({CONFIGURATION})"
    return None


class Cluster:
    """The cluster's daemons."""

    def __init__(self, state: Path):
        self.state = state
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self):
        values = {"mark": MARK, "host": socket.gethostname(), "state": self.state}
        for node in ("ctld", *NODES):
            (self.state / node).mkdir()
        CONFIGURATION.write_text(_SLURM_CONF.format(**values))
        CONFIGURATION.with_name("gres.conf").write_text(_GRES_CONF.format(**values))
        for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
            Path(folder).mkdir(exist_ok=True)
            shutil.chown(folder, "munge", "munge")
        Path("/run/munge").chmod(0o755)
        self._daemon("munged", "runuser", "-u", "munge", "--", "munged", "--foreground", "--force")
        self._wait(lambda: Path("/run/munge/munge.socket.2").exists(), "munged")
        self._daemon("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        self._wait(lambda: self.states() == dict.fromkeys(NODES, "idle"), "the nodes")

    def start_node(self, node: str):
        self._daemon(node, "slurmd", "-D", "-N", node)

    def power_off(self, node: str):
        """Kill a node's daemon and all processes on the node at once, as in a power failure."""
        steps = [f"slurmstepd: [{job.id}." for job in queue() if job.node == node]
        self.daemons.pop(node).kill()
        # The daemons of job steps first: they would report the end of their processes.
        for what, marks in (("cmdline", steps), ("environ", [f"SLURMD_NODENAME={node}\0"])):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    with suppress(OSError):
                        content = (entry / what).read_text(errors="replace")
                        if any(mark in content for mark in marks):
                            os.kill(int(entry.name), signal.SIGKILL)

    def states(self) -> dict[str, str]:
        """Return the state of each node as printed by sinfo."""
        lines = slurm("sinfo", "-h", "-N", "-p", "gpu", "-o", "%N %t").split("\n")
        return dict(line.split() for line in lines if line)

    def stop(self):
        subprocess.run(["scancel", "--user", "root"], check=False, capture_output=True, timeout=30)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        CONFIGURATION.unlink(missing_ok=True)
        CONFIGURATION.with_name("gres.conf").unlink(missing_ok=True)

    def _daemon(self, name: str, *command: str):
        with (self.state / f"{name}.out").open("w") as output:
            self.daemons[name] = subprocess.Popen(
                command,
                env=os.environ | {"PATH": _path()},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _wait(self, condition, name: str):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f"{name} did not come up:\n{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text()[-800:]}" for path in sorted(self.state.glob("*.[lo]*")))


@dataclass(frozen=True)
class Job:
    """A job in the queue, with its rule, node, GPUs of the node, and memory."""

    id: str
    rule: str
    state: str
    node: str
    gpus: tuple[int, ...]
    memory_mb: int

    @property
    def devices(self) -> set[tuple[str, int]]:
        return {(self.node, gpu) for gpu in self.gpus}


def queue() -> list[Job]:
    """Return the waiting and running jobs."""
    jobs = []
    for line in slurm("squeue", "-h", "-t", "PENDING,RUNNING,COMPLETING", "-o", "%A|%T|%k|%N|%m").splitlines():
        number, state, comment, node, memory = line.split("|")
        details = slurm("scontrol", "show", "job", "-d", number)
        gpus = tuple(map(int, re.findall(r"GRES=gpu:\d+\(IDX:(\d+)\)", details)))
        rule = comment.removeprefix("rule_").partition("_wildcards_")[0]
        jobs.append(Job(number, rule, state, node, gpus, _megabytes(memory)))
    return jobs


def _megabytes(text: str) -> int:
    return round(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


def slurm(*command: str) -> str:
    """Return the output of a Slurm command; empty if it fails, for example while the controller starts."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip()
