"""What the launch scripts say that they would do, and what they ask for."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.launch.two_processes import ROOT

SHELLCHECK = shutil.which("shellcheck", path=f"{sys.prefix}/bin:{os.environ['PATH']}")
SCRIPTS = sorted(path.name for path in (ROOT / "launch").iterdir() if path.suffix != ".txt")
TPU = {
    "TPU": "slice",
    "ZONE": "us-east5-a",
    "ACCELERATOR": "v5p-256",
    "RUNTIME": "v2-alpha-tpuv5",
    "RUN_DIR": "gs://bucket/run",
}
GKE = {
    "NAME": "game24",
    "IMAGE": "registry/rlsearch:1",
    "RUN_DIR": "gs://bucket/run",
    "ACCELERATOR": "tpu-v5p-slice",
    "TOPOLOGY": "4x4x8",
    "HOSTS": "32",
}
NOT_OURS = ("VENV", "DRY_RUN", "RESTARTS", "PROJECT", "SPOT", "CHIPS", "SLICES", "NAMESPACE")


def run(script, *arguments, **environment):
    ours = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    return subprocess.run(
        ["bash", str(ROOT / "launch" / script), *arguments],
        env={**ours, **environment},
        capture_output=True,
        text=True,
    )


def dry(script, *arguments, **environment) -> list[str]:
    done = run(script, "--dry-run", *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    paths = [f"launch/{name}" for name in SCRIPTS]
    done = subprocess.run([str(SHELLCHECK), *paths], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_slurm_starts_a_task_a_process():
    (line,) = dry("slurm.sbatch", "game24", "--run-dir", "runs/a b", "--seed", "1", VENV="/venv")
    program, *words = shlex.split(line)
    assert program == "srun"
    assert words == shlex.split(
        "--kill-on-bad-exit=1 /venv/bin/rlsearch train game24 --run-dir 'runs/a b' --seed 1"
    )


def test_a_tpu_slice_is_asked_for_filled_and_trained_on():
    lines = [
        shlex.split(line, comments=True)
        for line in dry("tpu_vm.sh", "game24", "--name", "it's", **TPU, SPOT="yes", PROJECT="p")
    ]
    create, git, copy, install, train, delete = filter(None, lines)
    place = ["--zone", "us-east5-a", "--project", "p"]
    tpus = ["gcloud", "compute", "tpus"]
    asked = ["--accelerator-type", "v5p-256", "--runtime-version", "v2-alpha-tpuv5", "--spot"]
    assert create == [
        *[*tpus, "queued-resources", "create", "slice", "--node-id", "slice"],
        *[*place, *asked],
    ]
    assert git[:2] == ["git", "archive"]
    assert copy[:5] == [*tpus, "tpu-vm", "scp"]
    for line in (install, train):
        assert line[:-1] == [
            *tpus,
            "tpu-vm",
            "ssh",
            "slice",
            *place,
            "--worker",
            "all",
            "--command",
        ]
    # What a host's shell makes of the last word is what was typed here.
    words = shlex.split(train[-1])
    assert words[:3] == ["cd", "rlsearch", "&&"]
    assert words[3:] == shlex.split(
        '.venv/bin/rlsearch train game24 --name "it\'s" --run-dir gs://bucket/run'
    )
    assert install[-1].endswith("source launch/common.sh && install tpu")
    assert delete == [*tpus, "queued-resources", "delete", "slice", *place, "--force", "--quiet"]


def test_a_jobset_of_gke_has_every_host_and_a_bound():
    first, *manifest, last = dry("gke.sh", "game24", "--name", "it's", **GKE, RESTARTS="5")
    assert first == "kubectl apply --namespace default --filename - <<'EOF'" and last == "EOF"
    text = "\n".join(manifest)
    for line in (
        "kind: JobSet",
        "maxRestarts: 5",
        "parallelism: 32",
        "completions: 32",
        "backoffLimit: 0",
        "cloud.google.com/gke-tpu-accelerator: 'tpu-v5p-slice'",
        "cloud.google.com/gke-tpu-topology: 4x4x8",
        "image: 'registry/rlsearch:1'",
        "limits: {google.com/tpu: 4}",
    ):
        assert re.search(rf"^ *{re.escape(line)}( #.*)?$", text, re.MULTILINE), line
    command = re.findall(r"^ *- '(.*)'$", text, re.MULTILINE)
    assert command == "rlsearch train game24 --name it''s --run-dir gs://bucket/run".split()
    assert "serviceAccountName" not in text
    assert "serviceAccountName: 'me'" in "\n".join(
        dry("gke.sh", "game24", **GKE, SERVICE_ACCOUNT="me")
    )


@pytest.mark.parametrize(("script", "inputs"), [("tpu_vm.sh", TPU), ("gke.sh", GKE)])
def test_what_is_missing_is_named(script, inputs):
    for name in inputs:
        rest = {other: value for other, value in inputs.items() if other != name}
        done = run(script, "--dry-run", "game24", **rest)
        assert done.returncode == 2 and done.stdout == ""
        assert re.fullmatch(rf"error: {name} is not set: it is .*\n", done.stderr)


@pytest.mark.parametrize(
    ("script", "arguments", "environment", "sentence"),
    [
        ("slurm.sbatch", "--run-dir x", {}, "there is no CONFIG"),
        ("slurm.sbatch", "game24", {}, "there is no --run-dir"),
        ("slurm.sbatch", "game24 --run-dir x", {"RESTARTS": "x"}, "RESTARTS is 'x'"),
        ("tpu_vm.sh", "", TPU, "there is no CONFIG"),
        ("tpu_vm.sh", "game24", {**TPU, "RUN_DIR": "runs/a"}, "RUN_DIR is 'runs/a': hosts share"),
        ("gke.sh", "", GKE, "there is no CONFIG"),
        ("gke.sh", "game24", {**GKE, "RUN_DIR": "runs/a"}, "RUN_DIR is 'runs/a': pods share"),
        ("gke.sh", "game24", {**GKE, "HOSTS": "0"}, "HOSTS is '0': it must be a whole number"),
        ("gke.sh", "game24", {**GKE, "TOPOLOGY": "4"}, "TOPOLOGY is '4': it must be like 4x4"),
        ("gke.sh", "game24", {**GKE, "NAME": "A"}, "NAME is 'A': it must be lower-case"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(script, arguments, environment, sentence):
    done = run(script, "--dry-run", *arguments.split(), **environment)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {sentence}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--processes two", "--processes is 'two': it must be a whole number"),
        ("--processes", "--processes is '': it must be a whole number"),
        ("--devices 2 --seed 1", "--devices is for several processes: give --processes too"),
    ],
)
def test_local_processes_are_numbers(arguments, sentence):
    done = run("local.sh", *arguments.split())
    assert (done.returncode, done.stderr) == (2, f"error: {sentence}\n")


def test_slurm_is_not_started_by_hand():
    done = run("slurm.sbatch", "game24", "--run-dir", "x", SLURM_JOB_ID="")
    assert done.returncode == 2 and "this is no SLURM job" in done.stderr
    gpus = {"SLURM_JOB_ID": "1", "SLURM_GPUS_ON_NODE": "8", "SLURM_NTASKS_PER_NODE": "1"}
    done = run("slurm.sbatch", "game24", "--run-dir", "x", **gpus)
    assert done.returncode == 2 and "give --ntasks-per-node 8" in done.stderr
    again = {"SLURM_JOB_ID": "1", "SLURM_RESTART_COUNT": "4", "RESTARTS": "3"}
    done = run("slurm.sbatch", "game24", "--run-dir", "x", **again)
    assert done.returncode == 1 and "put back into the queue 4 times" in done.stderr


@pytest.fixture
def programs(tmp_path):
    """Stand-ins for what the scripts call: they note what they are asked, and fail if told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    text = f"""#!/usr/bin/env bash
echo "$(basename "$0") $*" >> {tmp_path}/log
[[ $0 != */kubectl ]] || cat > {tmp_path}/manifest
case "$*" in
  *describe*) cat {tmp_path}/state ;;
  *create*) echo ACTIVE > {tmp_path}/state ;;
  *delete*) rm {tmp_path}/state ;;
  *"rlsearch train"*)
    left=$(cat {tmp_path}/failures)
    [[ $left -gt 0 ]] || exit 0
    echo $((left - 1)) > {tmp_path}/failures
    exit "$(cat {tmp_path}/code)" ;;
esac
"""
    for name in ("gcloud", "git", "kubectl", "srun", "rlsearch"):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("failures", "with_code", "code", "starts"),
    [(0, 1, 0, 1), (2, 137, 0, 3), (9, 1, 1, 3), (9, 2, 2, 1), (9, 143, 143, 1)],
)
def test_slurm_starts_again_as_often_as_allowed(programs, failures, with_code, code, starts):
    (programs / "failures").write_text(str(failures))
    (programs / "code").write_text(str(with_code))
    done = run(
        *("slurm.sbatch", "game24", "--run-dir", "x"),
        PATH=f"{programs}/bin:{os.environ['PATH']}",
        VENV=str(programs),
        SLURM_JOB_ID="1",
        RESTARTS="2",
    )
    assert done.returncode == code, done.stderr
    assert len((programs / "log").read_text().splitlines()) == starts
    assert done.stderr.count("starts again from the last checkpoint") == starts - 1
    assert ("after 2 restarts" in done.stderr) == (code == 1)


@pytest.mark.parametrize("state", ["", "ACTIVE", "SUSPENDED"])
def test_a_slice_is_used_made_or_made_again(programs, state):
    (programs / "failures").write_text("1")
    (programs / "code").write_text("1")
    if state:
        (programs / "state").write_text(state)
    path = f"{programs}/bin:{os.environ['PATH']}"
    done = run("tpu_vm.sh", "game24", **TPU, PATH=path, TMPDIR=str(programs))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("restart 1 of 3") == 1
    log = (programs / "log").read_text()
    assert log.count(" create ") == (state != "ACTIVE")
    assert log.count(" delete ") == (state == "SUSPENDED")
    assert log.count("rlsearch train") == 2


def test_a_jobset_is_what_the_dry_run_shows(programs):
    path = f"{programs}/bin:{os.environ['PATH']}"
    assert run("gke.sh", "game24", **GKE, PATH=path).returncode == 0
    first, *manifest, _ = dry("gke.sh", "game24", **GKE)
    assert (programs / "manifest").read_text().splitlines() == manifest
    assert (programs / "log").read_text() == first.replace(" <<'EOF'", "\n")
