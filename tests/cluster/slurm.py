"""A SLURM of one node on loopback, from Debian's packages, in a folder of its own; no systemd."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
PACKAGES = "slurmctld, slurmd, slurm-client and munge, for a site also slurmdbd and mariadb-server"
CLIENTS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo", "sacct", "sacctmgr", "sshare")

CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=0
GresTypes=gpu
DefMemPerCPU=1000
EnforcePartLimits=ALL
MinJobAge={min_job_age}
KillWait=5
OverTimeLimit=0
ReturnToService=2
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
"""

ENFORCED_BY_POLLING = "TaskPlugin=task/none\nJobAcctGatherParams=OverMemoryKill\n"
"""How memory is enforced where no cgroup does."""


def missing(programs: tuple[str, ...] = PROGRAMS) -> str:
    """Why SLURM cannot be run here; empty if it can."""
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} are not installed (Debian: {PACKAGES})"
    if os.geteuid() != 0:
        return "SLURM can only be started by root here"
    return ""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Node:
    """A node, whose slurmd runs on this machine like all others."""

    name: str
    gpus: int = 0
    model: str = ""
    features: str = ""


@dataclass
class Slurm:
    """The daemons and their folder, whose path must be short: munge has a socket in it.

    As it is, one node with two GPUs of no type and a partition, without accounting; `cluster.site` has the other kind.
    """

    folder: Path
    cores: int = 4
    memory: int = 12000
    min_job_age: int = 3600
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return socket.gethostname().partition(".")[0]

    @property
    def node(self) -> str:
        """The first node."""
        return self.nodes[0].name

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (Node(self.host, gpus=2),)

    @property
    def configuration(self) -> str:
        """Accounting and partitions, which come after what all have in common and the nodes."""
        return (
            "AccountingStorageType=accounting_storage/none\n"
            f"{ENFORCED_BY_POLLING}"
            f"PartitionName=main Nodes={self.node} Default=YES MaxTime=INFINITE State=UP\n"
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def path(self, path: str) -> str:
        """A search path on which SLURM's commands are those of this SLURM, also where a job has lost SLURM_CONF."""
        return f"{self.folder / 'programs'}{os.pathsep}{path}"

    def write_config(self) -> None:
        """Configuration, key and the devices that play the GPUs."""
        for name in ("state", *(f"spool/{node.name}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        common = CONFIG.format(folder=self.folder, host=self.host, controller_port=free_port(), min_job_age=self.min_job_age)
        nodes = "".join(self._node_line(node) for node in self.nodes)
        (self.folder / "slurm.conf").write_text(common + nodes + self.configuration)
        (self.folder / "gres.conf").write_text("".join(line for node in self.nodes for line in self._devices(node)))
        self._write_programs()

    def _write_programs(self) -> None:
        for name in CLIENTS:
            if program := shutil.which(name):
                self.write_program(name, f'SLURM_CONF={self.folder}/slurm.conf exec {program} "$@"')

    def write_program(self, name: str, line: str) -> None:
        script = self.folder / "programs" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)

    def _node_line(self, node: Node) -> str:
        gres = f" Gres=gpu:{node.model}:{node.gpus}".replace("::", ":") if node.gpus else ""
        features = f" Features={node.features}" if node.features else ""
        return (
            f"NodeName={node.name} NodeHostname={self.host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={self.cores} "
            f"RealMemory={self.memory} State=UNKNOWN{gres}{features}\n"
        )

    def _devices(self, node: Node) -> Iterator[str]:
        """Make the devices of a node; gives their lines of gres.conf."""
        for index in range(node.gpus):
            device = self.folder / "devices" / node.name / f"gpu{index}"
            device.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(device, 0o020666, os.makedev(1, 3))  # as harmless as /dev/null
            kind = f" Type={node.model}" if node.model else ""
            yield f"NodeName={node.name} Name=gpu{kind} File={device}\n"

    def start(self) -> None:
        """Start all daemons and wait until the nodes take jobs."""
        self.write_config()
        self._start("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key",
                    f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munge.pid",
                    f"--log-file={self.folder}/munge.log", f"--seed-file={self.folder}/munge.seed")  # fmt: skip
        self._wait((self.folder / "munge.socket").exists, "munged")
        self.start_accounting()
        self.start_controller()
        for node in self.nodes:
            self._start("slurmd", "-D", "-N", node.name, name=node.name)
        self._wait(lambda: self.states() <= {"idle", "mixed", "allocated"}, "the nodes")

    def start_accounting(self) -> None:
        """What the controller wants to find; here nothing."""

    def start_controller(self) -> None:
        self._start("slurmctld", "-D")
        self._wait(lambda: "UP" in self.ask("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """As a power cut would."""
        self._stop("slurmctld", signal.SIGKILL)

    def stop(self) -> None:
        """End all jobs and daemons, the last one first, and all that lies outside the folder."""
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            self.ask("scancel", "--state=PENDING")
            self.ask("scancel", "--full", "--state=RUNNING")
            time.sleep(1)
        for name in reversed(list(self.daemons)):
            self._stop(name, signal.SIGTERM)

    def end_soon(self, job: str) -> None:
        """Let the time limit of a running job be reached, which SLURM looks at twice a minute."""
        self.ask("scontrol", "update", f"JobId={job}", "EndTime=now+1")

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(
            command, env=self.environment, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.stdout

    def states(self) -> set[str]:
        """Of the nodes."""
        return {line.rstrip("*") for line in self.ask("sinfo", "-h", "-N", "-o", "%T").split()}

    def finished(self) -> list[dict[str, str]]:
        """What the controller noted of each job that has ended."""
        path = self.folder / "jobs.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(part.partition("=")[::2] for part in line.split() if "=" in part) for line in lines]

    def _start(self, program: str, *arguments: str, name: str = "") -> None:
        """Start a daemon, which is known by its program, or by another name if there are several."""
        with (self.folder / f"{name or program}.out").open("ab") as output:
            self.daemons[name or program] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _stop(self, name: str, how: int) -> None:
        daemon = self.daemons.pop(name, None)
        if daemon is not None:
            daemon.send_signal(how)
            daemon.wait(timeout=30)

    def _wait(self, happened: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 60
        while not happened():
            if time.monotonic() > deadline:
                logs = "".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                message = f"{what} did not come up:\n{logs}"
                raise RuntimeError(message)
            time.sleep(0.2)
