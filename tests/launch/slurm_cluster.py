"""A SLURM cluster of this machine alone, of Debian's slurm-wlm and munge, for as long as a test."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

from tests.launch.two_processes import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")


def missing() -> str | None:
    """Why there can be no cluster here, or None."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if absent:
        return f"{', '.join(absent)} is not installed (Debian: slurm-wlm and munge)"
    if os.geteuid() != 0:
        return "SLURM's daemons have to be started as root"
    return None


@contextlib.contextmanager
def slurm_cluster(folder: pathlib.Path) -> Iterator[dict[str, str]]:
    """Starts the daemons; gives the environment in which SLURM's commands find them."""
    folder.chmod(0o755)  # munged refuses a folder that others may write to
    key, munge = folder / "munge.key", folder / "munge.socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    config = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    controller, node = free_port(), free_port()
    config.write_text(f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={munge}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
MpiDefault=none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName=localhost NodeHostName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=localhost Default=YES State=UP
""")
    environment = {**os.environ, "SLURM_CONF": str(config)}
    environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin"
    daemons = (
        ["munged", "--foreground", f"--key-file={key}", f"--socket={munge}", "--force"]
        + [f"--{name}-file={folder}/munge.{name}" for name in ("log", "pid", "seed")],
        ["slurmctld", "-D", "-f", str(config)],
        ["slurmd", "-D", "-f", str(config)],
    )
    with contextlib.ExitStack() as stack:
        for command in daemons:
            log = stack.enter_context((folder / f"{command[0]}.log").open("w"))
            daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(daemon.wait)
            stack.callback(daemon.terminate)
            time.sleep(0.5)
        wait_until_idle(environment)
        yield environment


def wait_until_idle(environment: dict[str, str]) -> None:
    """Returns when the node takes jobs."""
    deadline, shown = time.monotonic() + 60, ""
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True
        )
        shown = done.stdout + done.stderr
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    raise TimeoutError(f"the node is not idle: {shown}")
