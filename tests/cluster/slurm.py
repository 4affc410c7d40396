"""A SLURM of one node on loopback, from Debian's packages, in a folder of its own; no systemd."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
SYSTEM_CONFIG = Path("/etc/slurm/slurm.conf")
"""Where `srun` inside a job looks, which does not see SLURM_CONF."""

CONFIG = """
ClusterName=tests
SlurmctldHost={node}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=0
GresTypes=gpu
DefMemPerCPU=1000
EnforcePartLimits=ALL
MinJobAge=3600
KillWait=5
OverTimeLimit=0
ReturnToService=2
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
NodeName={node} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why SLURM cannot be run here; empty if it can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} are not installed (slurmctld, slurmd, slurm-client and munge of Debian)"
    if os.geteuid() != 0:
        return "SLURM can only be started by root here"
    if SYSTEM_CONFIG.exists() and not SYSTEM_CONFIG.is_symlink():
        return f"{SYSTEM_CONFIG} belongs to somebody else"
    return ""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Slurm:
    """The daemons and their folder, whose path must be short: munge has a socket in it."""

    folder: Path
    cores: int = 4
    gpus: int = 2
    memory: int = 12000
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)

    @property
    def node(self) -> str:
        return socket.gethostname().partition(".")[0]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def write_config(self) -> None:
        """Configuration, key and the devices that play the GPUs."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        settings = {
            "folder": self.folder,
            "node": self.node,
            "cores": self.cores,
            "gpus": self.gpus,
            "memory": self.memory,
        }
        ports = {"controller_port": _free_port(), "node_port": _free_port()}
        (self.folder / "slurm.conf").write_text(CONFIG.format(**settings, **ports))
        lines = []
        for index in range(self.gpus):
            device = self.folder / f"gpu{index}"
            os.mknod(device, 0o020666, os.makedev(1, 3))  # as harmless as /dev/null
            lines.append(f"Name=gpu File={device}\n")
        (self.folder / "gres.conf").write_text("".join(lines))
        SYSTEM_CONFIG.parent.mkdir(exist_ok=True)
        SYSTEM_CONFIG.unlink(missing_ok=True)
        SYSTEM_CONFIG.symlink_to(self.folder / "slurm.conf")

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs."""
        self.write_config()
        self._start("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key",
                    f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munge.pid",
                    f"--log-file={self.folder}/munge.log", f"--seed-file={self.folder}/munge.seed")  # fmt: skip
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged")
        self.start_controller()
        self._start("slurmd", "-D", "-N", self.node)
        self._wait(lambda: self.state() in ("idle", "mixed", "allocated"), "the node")

    def start_controller(self) -> None:
        self._start("slurmctld", "-D")
        self._wait(lambda: "UP" in self.ask("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """As a power cut would."""
        self._stop("slurmctld", signal.SIGKILL)

    def stop(self) -> None:
        """End all jobs and daemons, and take away what lies outside the folder."""
        if "slurmctld" in self.daemons:
            self.ask("scancel", "--user=root", "--full")
            time.sleep(1)
        for name in ("slurmd", "slurmctld", "munged"):
            self._stop(name, signal.SIGTERM)
        if SYSTEM_CONFIG.is_symlink() and SYSTEM_CONFIG.readlink().parent == self.folder:
            SYSTEM_CONFIG.unlink()

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(
            command, env=self.environment, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.stdout

    def state(self) -> str:
        """Of the node."""
        return self.ask("sinfo", "-h", "-o", "%T").strip().rstrip("*")

    def finished(self) -> list[dict[str, str]]:
        """What the controller noted of each job that has ended."""
        path = self.folder / "jobs.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(part.partition("=")[::2] for part in line.split() if "=" in part) for line in lines]

    def _start(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as output:
            self.daemons[program] = subprocess.Popen(
                [program, *arguments], env=self.environment, stdout=output, stderr=output, start_new_session=True
            )

    def _stop(self, program: str, how: int) -> None:
        daemon = self.daemons.pop(program, None)
        if daemon is not None:
            daemon.send_signal(how)
            daemon.wait(timeout=30)

    def _wait(self, happened, what: str) -> None:
        deadline = time.monotonic() + 30
        while not happened():
            if time.monotonic() > deadline:
                logs = "".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                message = f"{what} did not come up:\n{logs}"
                raise RuntimeError(message)
            time.sleep(0.2)
