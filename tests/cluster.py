"""A real SLURM cluster of one node for tests: slurmctld, slurmd and munge from Debian's packages, on this host's own address.

Its daemons are child processes, its files lie in a temporary folder. Only slurm.conf and gres.conf must be in /etc/slurm,
because the jobs of Snakemake's SLURM plugin do not see SLURM_CONF; they are put back as they were. Where another cluster
is configured or runs, nothing is touched.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

CONFIGURATION = Path("/etc/slurm")
MARK = "# written by engram's tests\n"
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel"]

# Pretended GPUs: slurmd wants a character device for each, and never opens it.
DEVICES = ["/dev/null", "/dev/zero"]

# cred_expire: so many seconds a job that was put back into the queue waits before it starts again, by default two minutes.
SLURM_CONF = """\
ClusterName=engram
SlurmctldHost={host}({address})
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/{accounting}
MpiDefault=none
ReturnToService=2
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
NodeName=n1 NodeHostname={host} NodeAddr={address} CPUs={cpus} RealMemory={memory} {gpus}
"""

# Lines of slurm.conf in which sites differ: here with GPUs.
WITH_GPUS = """\
GresTypes=gpu
PartitionName=cpu Nodes=n1 Default=YES MaxTime=10-0
PartitionName=gpu Nodes=n1 MaxTime=10-0
"""


class Node:
    """The cluster's only node: slurmd, and the jobs on it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.slurmd: subprocess.Popen | None = None

    def start(self) -> None:
        self.slurmd = _daemon(self.folder, ["slurmd", "-D"])
        _wait(lambda: _output("sinfo", "-h", "-o", "%T").strip() in ("idle", "mixed", "allocated"))

    def fail(self) -> None:
        """End slurmd and every process of every job at once, as a power failure does; SLURM is not told."""
        for process in [self.slurmd.pid, *_processes_of_jobs()]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.slurmd.wait()

    def stop(self) -> None:
        if self.slurmd:
            _stop(self.slurmd)


@contextmanager
def running(lines: str = WITH_GPUS, accounting: str = "none") -> Iterator[Node]:
    """A cluster with these `lines` in its slurm.conf, as its node; skips the test where none can be.

    `accounting` is "none", as on many small clusters, or "slurmdbd": a daemon that is configured, but away.
    """
    reason = obstacle()
    if reason:
        pytest.skip(f"no SLURM cluster can be started: {reason}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engram-slurm-")))
        folder.chmod(0o755)
        stack.callback(_remove_configuration)
        _prepare(folder)
        stack.callback(_stop, _daemon(folder, ["munged", "--foreground", "--force", *_munge_files(folder)]))
        _wait(lambda: _answers("sh", "-c", f"munge -n -S {folder}/munge.socket | unmunge -S {folder}/munge.socket"))
        if accounting != "none":  # slurmctld starts without its daemon only if it has run before
            _configure(folder, lines, "none")
            with ExitStack() as before:
                _slurmctld(folder, before)
        _configure(folder, lines, accounting)
        _slurmctld(folder, stack)
        node = Node(folder)
        stack.callback(node.stop)
        stack.callback(_end_jobs)
        node.start()
        yield node


def jobs() -> list[dict[str, str]]:
    """What SLURM knows of every job of the last five minutes: `scontrol show job`, as one mapping for each."""
    lines = _output("scontrol", "show", "job", "--oneliner").splitlines()
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]


def obstacle() -> str | None:
    """Why no cluster can be started here, if so."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return f"{missing[0]} is missing (apt-get install slurm-wlm munge)"
    if os.getuid() != 0:
        return "it takes root"
    running = _running()
    if running:
        return f"{running[0]} runs already"
    for name in ("slurm.conf", "gres.conf"):
        path = CONFIGURATION / name
        if path.exists() and not path.read_text().startswith(MARK):
            return f"{path} belongs to another cluster"
    return None


def _running() -> list[str]:
    """Names of SLURM's daemons that run on this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            found.add(path.read_text().strip())
    return sorted(found & {"slurmctld", "slurmd", "slurmdbd"})


def _prepare(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)


def _configure(folder: Path, lines: str, accounting: str) -> None:
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    facts = {"address": socket.gethostbyname(host), "cpus": os.cpu_count(), "memory": memory * 9 // 10}
    devices = DEVICES if "GresTypes=gpu" in lines else []
    gpus = f"Gres=gpu:{len(devices)}" if devices else ""
    gres = "".join(f"NodeName=n1 Name=gpu File={device}\n" for device in devices)
    conf = SLURM_CONF.format(folder=folder, host=host, accounting=accounting, gpus=gpus, **facts)
    CONFIGURATION.mkdir(exist_ok=True)
    (CONFIGURATION / "slurm.conf").write_text(MARK + conf + lines)
    (CONFIGURATION / "gres.conf").write_text(f"{MARK}AutoDetect=off\n{gres}")


def _remove_configuration() -> None:
    for name in ("slurm.conf", "gres.conf"):
        (CONFIGURATION / name).unlink(missing_ok=True)


def _munge_files(folder: Path) -> list[str]:
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "seed-file": "munged.seed"}
    return [f"--{option}={folder / name}" for option, name in files.items()]


def _daemon(folder: Path, command: list[str]) -> subprocess.Popen:
    """Start a daemon that ends also when this process is killed; what it says goes to a file."""
    with (folder / f"{command[0]}.log").open("a") as out:
        mortal = ["setpriv", "--pdeathsig", "TERM", *command]
        return subprocess.Popen(mortal, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def _slurmctld(folder: Path, stack: ExitStack) -> None:
    stack.callback(_stop, _daemon(folder, ["slurmctld", "-D", "-i"]))
    _wait(lambda: "is UP" in _output("scontrol", "ping"))


def _processes_of_jobs() -> list[int]:
    """slurmstepd of every job and step, and all that descends from it, parents first."""
    parents, found = {}, []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            process, rest = path.read_text().split(" (", 1)
            name, fields = rest.rsplit(") ", 1)
            parents[int(process)] = int(fields.split()[1])
            if name == "slurmstepd":
                found.append(int(process))
    for process in found:  # which grows meanwhile
        found += [child for child, parent in parents.items() if parent == process and child not in found]
    return found


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_jobs() -> None:
    """Cancel what is left, so that no job outlives the cluster."""
    _output("scancel", "--user=root")
    with suppress(TimeoutError):
        _wait(lambda: not _output("squeue", "-h"), 20)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def _answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def _wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"SLURM was not ready after {seconds:.0f} s")
        time.sleep(0.2)
