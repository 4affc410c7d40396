"""A SLURM like that of a site: accounting with limits, an account that is required, partitions, typed GPUs, pre-emption."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.slurm import ENFORCED_BY_POLLING, PROGRAMS, Node, Slurm, free_port

__all__ = ["SITE_PROGRAMS", "Site"]

SITE_PROGRAMS = (*PROGRAMS, "slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db")

ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
PreemptType=preempt/qos
PreemptMode=REQUEUE
JobSubmitPlugins=lua
PartitionName=cpu Nodes=cpu1,cpu2 Default=YES MaxTime=2-0 State=UP
PartitionName=gpu Nodes=h100,a30 MaxTime=2-0 State=UP
PartitionName=strict Nodes=h100,a30 MaxTime=2-0 State=UP
"""

DATABASE = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""

SUBMIT = """
-- What sites refuse: jobs without an account, and in the strict partition `--gpus`.
function slurm_job_submit(job, partitions, user)
    if job.account == nil then
        slurm.log_user("name an account")
        return slurm.ERROR
    end
    if job.partition == "strict" and job.tres_per_job ~= nil then
        slurm.log_user("ask for GPUs by --gres=gpu:TYPE:NUMBER in this partition")
        return slurm.ERROR
    end
    return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, user)
    return slurm.SUCCESS
end
"""


CGROUPS = Path("/sys/fs/cgroup")
MEMORY_CGROUPS = os.access(CGROUPS / "memory", os.W_OK)
"""Whether cgroups can enforce memory: SLURM 22.05 wants systemd for those of version 2."""


@dataclass
class Site(Slurm):
    """Four nodes in two partitions, `cpu` and `gpu`, and a third one that takes GPUs by `--gres` alone."""

    port: int = 0
    user: str = "root"
    min_job_age: int = 20  # so that `sacct` is what knows of jobs that have ended

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (
            Node("cpu1", features="old"),
            Node("cpu2", features="old"),
            Node("h100", gpus=2, model="h100", features="new"),
            Node("a30", gpus=2, model="a30", features="new"),
        )

    @property
    def configuration(self) -> str:
        enforced = "TaskPlugin=task/cgroup\n" if MEMORY_CGROUPS else ENFORCED_BY_POLLING
        return ACCOUNTING.format(folder=self.folder, port=self.port) + enforced

    @property
    def environment(self) -> dict[str, str]:
        # The database's socket, which slurmdbd has no key for.
        return {**super().environment, "MYSQL_UNIX_PORT": str(self.folder / "db.socket")}

    def write_config(self) -> None:
        self.port = free_port()
        super().write_config()
        database = self.folder / "slurmdbd.conf"
        database.write_text(DATABASE.format(folder=self.folder, port=self.port))
        database.chmod(0o600)
        (self.folder / "cgroup.conf").write_text("ConstrainRAMSpace=yes\n")
        (self.folder / "job_submit.lua").write_text(SUBMIT)

    def start_accounting(self) -> None:
        """The database in a folder of its own, slurmdbd, an account, and a QOS that pre-empts."""
        where = [f"--datadir={self.folder}/db", f"--tmpdir={self.folder}", "--user=root"]
        made = self.ask("mariadb-install-db", "--no-defaults", *where, "--auth-root-authentication-method=normal")
        (self.folder / "mariadb-install-db.log").write_text(made)
        self._start("mariadbd", "--no-defaults", *where, f"--socket={self.folder}/db.socket", "--skip-networking",
                    f"--pid-file={self.folder}/db.pid", "--innodb-flush-log-at-trx-commit=0",
                    "--innodb-buffer-pool-size=64M")  # fmt: skip
        self._wait((self.folder / "db.socket").exists, "mariadbd")
        self.start_database()
        self.manage("add", "cluster", "tests")
        self.manage("add", "account", "physics")
        self.manage("add", "qos", "urgent", "preempt=normal", "priority=1000")
        self.manage("add", "user", self.user, "account=physics", "qos=normal,urgent", "defaultqos=normal")

    def start_database(self) -> None:
        self._start("slurmdbd", "-D")
        self._wait(lambda: "normal" in self.ask("sacctmgr", "-n", "list", "qos", "format=name"), "slurmdbd")

    def stop_database(self) -> None:
        """As for an update."""
        self._stop("slurmdbd", signal.SIGKILL)

    def manage(self, *command: str) -> None:
        """Change the accounting.

        Raises:
            RuntimeError: sacctmgr did not do it.
        """
        answer = self.ask("sacctmgr", "-i", *command)
        if "error" in answer.lower() or "problem" in answer.lower():
            raise RuntimeError(answer)

    def stop(self) -> None:
        super().stop()
        for node in self.nodes:
            for folder in CGROUPS.glob(f"*/slurm_{node.name}"):
                for path, _, _ in os.walk(folder, topdown=False):
                    with suppress(OSError):  # a process that is about to end
                        Path(path).rmdir()

    @contextmanager
    def without_squeue(self) -> Iterator[None]:
        """`squeue` does not answer Snakemake, which has to ask `sacct`."""
        squeue = self.folder / "programs" / "squeue"
        before = squeue.read_text()
        self.write_program("squeue", "exit 1")
        try:
            yield
        finally:
            squeue.write_text(before)

    @contextmanager
    def limited(self, jobs: int) -> Iterator[None]:
        """The user may have so many jobs in the queue."""
        self.manage("modify", "user", self.user, "set", f"maxsubmitjobs={jobs}")
        try:
            yield
        finally:
            self.manage("modify", "user", self.user, "set", "maxsubmitjobs=-1")

    @contextmanager
    def without_spool(self, node: str) -> Iterator[None]:
        """A node can start no job."""
        spool = self.folder / "spool" / node
        aside = spool.rename(spool.with_suffix(".aside"))
        spool.touch()
        try:
            yield
        finally:
            spool.unlink()
            aside.rename(spool)
