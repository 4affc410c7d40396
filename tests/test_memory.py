"""What is free, on made-up machines, and in real control groups where the machine lets the tests make some."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convrfm.system.machine import free_bytes, free_memory

MB = 10**6
V1_ROOT = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755"
V1_CPU = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory"
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
UNLIMITED_V1 = 9223372036854771712


def group_v2(limit, used, file=0, high="max"):
    return {
        "memory.max": limit,
        "memory.high": high,
        "memory.current": used,
        "memory.stat": f"anon 5\nfile {file + 9}\ninactive_file {file}\nactive_file 7",
    }


def group_v1(limit, used, file=0):
    return {
        "memory.limit_in_bytes": limit,
        "memory.usage_in_bytes": used,
        "memory.stat": f"inactive_file 3\ntotal_inactive_file {file}\ntotal_active_file 7",
    }


ROOT_V2 = {"memory.stat": "inactive_file 5"}  # the highest group has neither limit nor use

CASES = {
    "lines that nobody understands, and names in another encoding": (
        ["nonsense", "0::/job"],
        ["", "no dash here", "36 31 0:33 / /mnt/\udcff rw - ext4 disk rw", V2],
        {"sys/fs/cgroup/job": group_v2(8 * MB, 3 * MB)},
        (5 * MB, "/sys/fs/cgroup/job"),
    ),
    "version 2": (
        ["0::/job"],
        [V2],
        {"sys/fs/cgroup": ROOT_V2, "sys/fs/cgroup/job": group_v2(8 * MB, 3 * MB)},
        (5 * MB, "/sys/fs/cgroup/job"),
    ),
    "version 2, the limit is that of the job and not of its step": (
        ["0::/slurm/job 7/step"],
        [V2],
        {
            "sys/fs/cgroup/slurm": group_v2("max", 9 * MB),
            "sys/fs/cgroup/slurm/job 7": group_v2(8 * MB, 2 * MB),
            "sys/fs/cgroup/slurm/job 7/step": group_v2("max", 1 * MB),
        },
        (6 * MB, "/sys/fs/cgroup/slurm/job 7 "),
    ),
    "version 2, least is left where others have taken it": (
        ["0::/user/me"],
        [V2],
        {"sys/fs/cgroup/user": group_v2(8 * MB, 7 * MB), "sys/fs/cgroup/user/me": group_v2(4 * MB, 1 * MB)},
        (1 * MB, "/sys/fs/cgroup/user "),
    ),
    "version 2, the group itself is limited more": (
        ["0::/user/me"],
        [V2],
        {"sys/fs/cgroup/user": group_v2(8 * MB, 2 * MB), "sys/fs/cgroup/user/me": group_v2(4 * MB, 1 * MB)},
        (3 * MB, "/sys/fs/cgroup/user/me "),
    ),
    "version 2, file pages that would be dropped are free": (
        ["0::/job"],
        [V2],
        {"sys/fs/cgroup/job": group_v2(8 * MB, 6 * MB, file=2 * MB)},
        (4 * MB, "/job"),
    ),
    "version 2, slowed down before it is full": (
        ["0::/job"],
        [V2],
        {"sys/fs/cgroup/job": group_v2(8 * MB, 1 * MB, high=3 * MB)},
        (2 * MB, "memory.high"),
    ),
    "version 2, more is used than allowed": (["0::/job"], [V2], {"sys/fs/cgroup/job": group_v2(8 * MB, 9 * MB)}, (0, "/job")),
    "version 2, the memory is not counted in the innermost group": (
        ["0::/job/inner"],
        [V2],
        {"sys/fs/cgroup/job": group_v2(8 * MB, 3 * MB), "sys/fs/cgroup/job/inner": {}},
        (5 * MB, "/sys/fs/cgroup/job "),
    ),
    "version 1": (
        ["4:memory:/slurm/uid_1/job_7", "1:cpu:/elsewhere", "9:name=systemd:/"],
        [V1_ROOT, V1_CPU, V1],
        {
            "sys/fs/cgroup/memory": group_v1(UNLIMITED_V1, 99 * MB),
            "sys/fs/cgroup/memory/slurm/uid_1": group_v1(UNLIMITED_V1, 9 * MB),
            "sys/fs/cgroup/memory/slurm/uid_1/job_7": group_v1(8 * MB, 3 * MB, file=1 * MB),
            "sys/fs/cgroup/cpu/elsewhere": group_v1(1 * MB, 0),
        },
        (6 * MB, "/sys/fs/cgroup/memory/slurm/uid_1/job_7 "),
    ),
    "version 1, controllers mounted together, elsewhere": (
        ["4:cpu,memory:/job"],
        [r"35 31 0:32 / /cgroup\040of\040all rw - cgroup cgroup rw,cpu,memory"],
        {"cgroup of all/job": group_v1(8 * MB, 3 * MB)},
        (5 * MB, "/cgroup of all/job"),
    ),
    "both versions, memory in the first": (
        ["4:memory:/job", "0::/init.scope"],
        [V1_ROOT, V1, V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")],
        {"sys/fs/cgroup/memory/job": group_v1(8 * MB, 3 * MB), "sys/fs/cgroup/unified/init.scope": {"cgroup.procs": "1"}},
        (5 * MB, "/sys/fs/cgroup/memory/job"),
    ),
    "a container with a namespace of its own": (
        ["0::/"],
        [V2],
        {"sys/fs/cgroup": group_v2(8 * MB, 3 * MB)},
        (5 * MB, "/sys/fs/cgroup "),
    ),
    "a container that sees the path of the host, and its own group as the mount": (
        ["4:memory:/docker/abc"],
        [V1.replace(" / ", " /docker/abc ")],
        {"sys/fs/cgroup/memory": group_v1(8 * MB, 3 * MB)},
        (5 * MB, "/sys/fs/cgroup/memory "),
    ),
    "a process below the group that a container has mounted": (
        ["4:memory:/docker/abc/inner"],
        [V1.replace(" / ", " /docker/abc ")],
        {"sys/fs/cgroup/memory": group_v1(8 * MB, 3 * MB), "sys/fs/cgroup/memory/inner": group_v1(4 * MB, 3 * MB)},
        (1 * MB, "/sys/fs/cgroup/memory/inner "),
    ),
    "a container that sees a path of the host that is not there": (
        ["0::/kubepods/pod1/abc"],
        [V2],
        {"sys/fs/cgroup": group_v2(8 * MB, 3 * MB)},
        (5 * MB, "/sys/fs/cgroup "),
    ),
    "a process outside its namespace": (
        ["0::/../other"],
        [V2.replace(" / ", " /.. ")],
        {"sys/fs/cgroup": group_v2(8 * MB, 3 * MB)},
        (5 * MB, "/sys/fs/cgroup "),
    ),
    "no memory.stat": (
        ["0::/job"],
        [V2],
        {"sys/fs/cgroup/job": {"memory.max": 8 * MB, "memory.current": 3 * MB}},
        (5 * MB, "/job"),
    ),
    "no limit in version 2": (["0::/job"], [V2], {"sys/fs/cgroup/job": group_v2("max", 3 * MB)}, None),
    "no limit in version 1": (["4:memory:/"], [V1], {"sys/fs/cgroup/memory": group_v1(UNLIMITED_V1, UNLIMITED_V1 - MB)}, None),
    "no control groups": ([], [], {}, None),
    "no mount of theirs": (["0::/job"], ["22 1 8:1 / / rw - ext4 /dev/sda1 rw"], {}, None),
}


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_the_least_that_any_group_leaves_counts(case, tmp_path):
    groups, mounts, folders, expected = CASES[case]
    lines = {"cgroup": groups, "mountinfo": mounts}
    files = {"proc/self": {name: "\n".join([*of, ""]) for name, of in lines.items()}, **folders}
    for folder, content in files.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            (tmp_path / folder / name).write_text(str(text), errors="surrogateescape")
    free = free_memory(tmp_path)
    if expected is None:
        assert free.source == "on this machine"
        assert free.size > 10 * MB
    else:
        size, place = expected
        assert free.size == size
        assert place in free.source


def test_without_proc_the_machine_counts(tmp_path):
    assert free_memory(tmp_path).source == "on this machine"


def test_here():
    assert 0 < free_bytes() < 2**50


FREE_MEMORY = "import json; from convrfm.system.machine import free_memory; print(json.dumps(vars(free_memory())))"


@pytest.mark.parametrize("option", ["-v", "-d"])
def test_limits_of_the_shell_count(option):
    # 3 000 000 KiB.
    script = f'ulimit {option} 3000000 && exec "{sys.executable}" -c "$1"'
    done = subprocess.run(["bash", "-c", script, "bash", FREE_MEMORY], capture_output=True, text=True, check=True)
    free = json.loads(done.stdout)
    assert 0 < free["size"] < 3_000_000 * 1024
    assert free["source"] == f"under ulimit {option} (2.9 GiB)"


@pytest.fixture
def nested_group():
    """A real control group within one that is limited to 1 GiB; skipped with the reason where none can be made."""
    outer = limit = None
    for mount, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        if (Path(mount) / "cgroup.procs").exists():
            outer, limit = Path(mount) / f"convrfm-test-{os.getpid()}", name
            break
    if outer is None:
        pytest.skip("no control groups are mounted here")
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
        with (outer / limit).open("r+") as file:  # never a new file
            file.write(str(2**30))
    except OSError as error:
        pytest.skip(f"no control group with a limit of memory can be made here: {error}")
    else:
        yield inner
    finally:
        for folder in (inner, outer):
            if folder.exists():
                folder.rmdir()


def test_a_job_in_a_nested_group_of_1_gib_refuses_a_fit_of_4_gib(nested_group):
    settings = {
        "rfm": {"rounds": 2, "stages": 1, "filters": 1}, "protocol": "published", "depth": 3, "patch_size": 3,
        "memory_mb": None,
    }  # fmt: skip
    program = (
        "from convrfm.replication.cluster.fits import check_memory, fit_bytes\n"
        f"size = ({settings!r}, 12000, 2000, (1, 28, 28))\n"
        "assert 3.5 * 2**30 < fit_bytes(*size) < 4.5 * 2**30\n"
        "check_memory(*size)"
    )
    script = f'echo $$ > {nested_group}/cgroup.procs && exec "{sys.executable}" -c "$1"'
    done = subprocess.run(["bash", "-c", script, "bash", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "MachineError: A fit to 12000 training and 2000 test images needs" in last
    assert f"are free in the control group {nested_group.parent} (" in last
    assert "1.0 GiB)" in last
    outside = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"control group {nested_group.parent}" not in outside.stderr
