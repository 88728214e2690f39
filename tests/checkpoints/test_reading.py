"""What cannot be read now is no damage, and nothing strange in the folder is followed."""

import errno
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.checkpoints import reading
from rlsearch.checkpoints.store import Best, CheckpointError, CheckpointStore

HERE = pathlib.Path(__file__).parent
# What a reading can fail with that says nothing of what would have been read.
ERRORS = [
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "EACCES", "ENFILE", "EMFILE", "ETIMEDOUT", "ENOMEM")
]
STATE = {"w": jnp.arange(6.0), "key": jax.random.key(3)}
ABSTRACT = jax.eval_shape(lambda: STATE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the checkpoints 1 and 2, which no test changes."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with CheckpointStore(folder, keep=2) as store:
        store.save(1, STATE, metrics={"loss": 1.0}, wait=True)
        store.save(2, STATE, metrics={"loss": 2.0}, wait=True)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return pathlib.Path(shutil.copytree(saved, tmp_path / "checkpoints"))


def complain(sentence: str):
    raise AssertionError(sentence)


def open_store(folder, **rules) -> CheckpointStore:
    return CheckpointStore(folder, keep=2, warn=complain, **rules)


def content(folder: pathlib.Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("tried", [1, pytest.param(len(ERRORS), marks=pytest.mark.slow)])
def test_a_reading_that_fails_leaves_all_as_it_was(tmp_path, tried):
    """Every call by which Python or TensorStore reads fails, alone and with all that follow."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("there is no C compiler to make readings fail with")
    library = tmp_path / "failing_reads.so"
    source = str(HERE / "failing_reads.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    command = [sys.executable, str(HERE / "failing_reads.py"), str(tmp_path / "run"), str(tried)]
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40  # readings


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("told", ["as an error", "in words"])
def test_an_error_of_the_moment_is_no_damage(folder, monkeypatch, number, told):
    def load(*_):
        cause = OSError(number, os.strerror(number))
        raise ValueError(f"NOT_FOUND: {os.strerror(number)}" if told == "in words" else "a") from (
            None if told == "in words" else cause
        )

    before = content(folder)
    monkeypatch.setattr(reading.ocp, "load", load)
    with pytest.raises(CheckpointError, match="^checkpoint 2 in .* cannot be read now, and"):
        open_store(folder).restore_latest(ABSTRACT)
    assert content(folder) == before


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_listed_is_not_empty(folder, monkeypatch, number):
    scandir = os.scandir

    def failing(path="."):
        if str(path) == str(folder):
            raise OSError(number, os.strerror(number), path)
        return scandir(path)

    store = open_store(folder)
    monkeypatch.setattr(os, "scandir", failing)
    for ask in (store.steps, store.permanent_steps, lambda: store.restore_latest(ABSTRACT)):
        with pytest.raises(CheckpointError, match=f"cannot be read now.*{os.strerror(number)}"):
            ask()


def test_a_checkpoint_whose_metrics_cannot_be_read_is_not_deleted(folder, monkeypatch):
    metadata, failing = reading.ocp.metadata, [True]

    def read(path):
        if failing and path.name == "1":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return metadata(path)

    monkeypatch.setattr(reading.ocp, "metadata", read)
    rules = {"keep": 1, "best": Best(1, "loss", "max")}
    with CheckpointStore(folder, **rules) as store:
        store.save(3, STATE, metrics={"loss": 3.0}, wait=True)
        assert store.steps() == [1, 3]
        failing.clear()
        store.save(4, STATE, metrics={"loss": 4.0}, wait=True)
        assert store.steps() == [4]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_other_names_are_nobodys(folder, tmp_path, kind):
    """They are not read, do not stop the others from being read, and are not removed by a save."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "1", elsewhere)
    for name in ("9e30", "9" * 30, "007", "-1", "1.5", "٣", "2 ", "x\udcff", "+4", "a.deleted"):
        path = folder / name
        if kind == "folder":
            shutil.copytree(elsewhere, path)
        elif kind == "file":
            path.write_text("mine")
        else:
            path.symlink_to(elsewhere)
    before, untouched = set(os.listdir(folder)), content(elsewhere)
    with open_store(folder) as store:
        assert store.steps() == [1, 2]
        found = store.restore_latest(ABSTRACT)
        assert found is not None and found[0] == 2
        store.save(3, STATE)
    assert set(os.listdir(folder)) == before - {"1"} | {"3"}
    assert content(elsewhere) == untouched


@pytest.mark.parametrize("number", [1, 3])  # the newest, or an older one
@pytest.mark.parametrize("kind", ["file", "link", "link to nothing", "pipe"])
def test_a_checkpoint_that_is_no_folder_is_refused(folder, tmp_path, number, kind):
    path = folder / str(number)
    if path.exists():
        path.rename(tmp_path / "elsewhere")
    else:
        shutil.copytree(folder / "2", tmp_path / "elsewhere")
    {
        "file": lambda: path.write_text("mine"),
        "link": lambda: path.symlink_to(tmp_path / "elsewhere"),
        "link to nothing": lambda: path.symlink_to(tmp_path / "nowhere"),
        "pipe": lambda: os.mkfifo(path),
    }[kind]()
    store = open_store(folder)
    assert number not in store.steps()
    with pytest.raises(CheckpointError, match=f"checkpoints/{number} is a link or a file, and"):
        store.restore_latest(ABSTRACT)
    assert os.path.lexists(path) and (folder / "2").is_dir()


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe"])
def test_what_is_in_a_checkpoint_is_not_followed_out_of_it(folder, tmp_path, kind):
    """Every file of it in turn."""
    names = [path.relative_to(folder) for path in (folder / "2").rglob("*")]
    assert len(names) > 5
    for name in names:
        path = folder / name
        if path.is_dir() != (kind == "folder link"):
            continue
        path.rename(tmp_path / "elsewhere")
        os.mkfifo(path) if kind == "pipe" else path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(CheckpointError, match=f"not read: .*{path.name} is a link or a device"):
            open_store(folder).restore_latest(ABSTRACT)
        path.unlink()
        (tmp_path / "elsewhere").rename(path)
    assert open_store(folder).restore(2, ABSTRACT)["w"].shape == (6,)


def test_any_folders_name_will_do_or_is_refused_at_once(tmp_path):
    fit = tmp_path / " $HOME ${x} ~!@#%^&()-_=+{}|;:'\",<.>`\x1b\n\tü中 %20 "
    with open_store(fit / "checkpoints") as store:
        store.save(2, STATE, wait=True)
    found = open_store(fit / "checkpoints").restore_latest(ABSTRACT)
    assert found is not None
    np.testing.assert_array_equal(found[1]["w"], STATE["w"])
    assert os.listdir(tmp_path) == [fit.name]
    for character in "*?[\\\0\udcff":
        with pytest.raises(ValueError, match="in its name|not UTF-8") as refused:
            open_store(tmp_path / f"a{character}1]" / "checkpoints")
        assert str(refused.value).isprintable()
    assert os.listdir(tmp_path) == [fit.name]
