"""A real Slurm cluster of one node on this machine, in a folder of its own, whose daemons can be killed."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.ports import free_ports

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

_CONF = """
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MessageTimeout=5
SlurmctldTimeout=30
SlurmdTimeout=600
MinJobAge=600
KillWait=30
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=2
"""


class SlurmCluster:
    """A controller and a node, on which jobs of the partition ``urgent`` push those of ``main`` aside.

    Every variable, socket and port is its own: no cluster of the machine is met.

    Attributes:
        conf: What ``SLURM_CONF`` has to be for Slurm's commands to ask this one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._host = socket.gethostname().partition(".")[0]
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.conf = folder / "slurm.conf"
        folder.chmod(0o711)  # munged wants its socket within reach of everybody
        for name in ("state", "spool", "log"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        controller, node = free_ports(2)
        user = pwd.getpwuid(os.geteuid()).pw_name
        text = _CONF.format(host=self._host, controller=controller, node=node, user=user, folder=folder)
        self.conf.write_text(text, encoding="utf-8")
        self._start(
            *("munged", "--foreground", f"--key-file={key}", f"--socket={folder}/munge.socket"),
            *(
                f"--log-file={folder}/log/munged",
                f"--pid-file={folder}/munged.pid",
                f"--seed-file={folder}/seed",
            ),
        )
        self._until((folder / "munge.socket").exists, "munged")
        self.start_controller()
        self.start_node()

    def start_controller(self) -> None:
        """Also after it was killed: its state is in its folder."""
        self._start("slurmctld", "-D")
        self._until(lambda: not self.run("scontrol", "ping").returncode, "slurmctld")

    def start_node(self) -> None:
        """Also after it was killed, or given up."""
        self._start("slurmd", "-D", "-N", self._host)
        self.run("scontrol", "update", f"NodeName={self._host}", "State=RESUME")
        self._until(lambda: self._node_state() in ("idle", "mixed"), "slurmd")

    def kill(self, daemon: str) -> None:
        """One daemon, at once. Jobs go on: each has a process of its own that looks after it."""
        if daemon == "slurmctld":
            self._await_save()
        process = self._daemons.pop(daemon)
        process.kill()
        process.wait()

    def kill_jobs(self) -> None:
        """All processes that look after jobs and the jobs themselves, as where a node loses its power."""
        for pid in _below(self._steps()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def give_up_node(self) -> None:
        """What the controller does by itself when a node has been silent for long enough."""
        self.run("scontrol", "update", f"NodeName={self._host}", "State=DOWN", "Reason=silent")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of Slurm, asked of this cluster."""
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def clear(self) -> None:
        """End what a test has left, and have every daemon running and the node ready for the next one."""
        if not self._runs("slurmctld"):
            self.start_controller()
        if not self._runs("slurmd"):
            self.start_node()
        self._until(self._is_cleared, "slurmctld")

    def stop(self) -> None:
        """End all of it, at once: nothing of it is used again."""
        for process in self._daemons.values():
            process.kill()
            process.wait()
        self.kill_jobs()

    def _start(self, program: str, *words: str) -> None:
        path = shutil.which(program, path=_PLACES)
        assert path is not None
        with (self._folder / "log" / f"{program}.out").open("ab") as log:
            self._daemons[program] = subprocess.Popen(
                [path, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "SLURM_CONF": str(self.conf)},
                cwd=self._folder,
                start_new_session=True,
            )

    def _runs(self, daemon: str) -> bool:
        return daemon in self._daemons and self._daemons[daemon].poll() is None

    def _is_cleared(self) -> bool:
        """Asked again and again: what ends, or is taken into service again, does so in its own time."""
        if self._node_state() == "idle" and not self.run("squeue", "-h").stdout.strip():
            return True
        self.run("scancel", "--user", pwd.getpwuid(os.geteuid()).pw_name)
        self.run("scontrol", "update", f"NodeName={self._host}", "State=RESUME")
        return False

    def _node_state(self) -> str:
        return self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T").stdout.strip()

    def _await_save(self) -> None:
        """Until the controller has written down what runs, which it does some seconds later.

        One that is killed before gives the number of a job that runs to the next one, and takes the node
        out of service for it.
        """
        mark, state = secrets.token_hex(8), self._folder / "state" / "job_state"
        running = self.run("squeue", "-h", "-t", "R", "-o", "%i").stdout.split()
        for job in running:
            self.run("scontrol", "update", f"JobId={job}", f"Comment={mark}")
        if running:
            self._until(lambda: state.exists() and mark.encode() in state.read_bytes(), "slurmctld")

    def _steps(self) -> list[int]:
        """The processes that look after this cluster's jobs; they have the variables of its node."""
        mine = f"SLURM_CONF={self.conf}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (folder / "cmdline").read_bytes().startswith(b"slurmstepd:"):
                    found += [int(folder.name)] * (mine in (folder / "environ").read_bytes().split(b"\0"))
        return found

    def _until(self, holds: Callable[[], bool], daemon: str) -> None:
        limit = time.monotonic() + PATIENCE
        while not holds():
            if self._daemons[daemon].poll() is not None or time.monotonic() > limit:
                said = (self._folder / "log" / f"{daemon}.out").read_text(errors="replace")
                now = self.run("scontrol", "show", "node").stdout + self.run("squeue").stdout
                raise RuntimeError(f"{daemon} did not come to be as it should:\n{said[-3000:]}\n{now}")
            time.sleep(0.05)


@contextmanager
def started() -> Iterator[SlurmCluster]:
    """A cluster for the block; skips the test where Slurm is not installed."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PLACES) is None]
    if missing:
        pytest.skip("needs Slurm (apt-get install slurm-wlm munge)")
    # A short path: a socket's path has about 100 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="kt-slurm-"))
    cluster = None
    try:
        cluster = SlurmCluster(folder)
        yield cluster
    finally:
        if cluster is not None:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _below(pids: Sequence[int]) -> list[int]:
    """These processes and all that descend from them."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    found, left = [], list(pids)
    while left:
        pid = left.pop()
        found.append(pid)
        left += parents.get(pid, [])
    return found
