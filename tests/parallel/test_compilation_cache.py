import os
import pathlib

import pytest

from rlsearch.parallel.compilation_cache import VARIABLE, use_compilation_cache


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A home of one's own, and no folder chosen."""
    monkeypatch.setenv(VARIABLE, "to be restored")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def chosen() -> pathlib.Path:
    use_compilation_cache()
    return pathlib.Path(os.environ[VARIABLE])


@pytest.mark.parametrize("given", [None, "relative/folder"])  # the specification ignores the latter
def test_programs_are_kept_in_the_home(home, monkeypatch, given):
    if given:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    folder = chosen()
    assert folder.parent == home / ".cache" / "rlsearch"
    assert folder.is_dir() and list(folder.iterdir()) == []


def test_the_cache_folder_of_the_user_is_kept_to(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert chosen().parent == home / "elsewhere" / "rlsearch"
    assert not (home / ".cache").exists()


@pytest.mark.parametrize("given", ["/a/folder", ""])
def test_the_variable_of_jax_is_left_as_it_is(home, monkeypatch, given):
    monkeypatch.setenv(VARIABLE, given)
    use_compilation_cache()
    assert os.environ[VARIABLE] == given and list(home.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_done_without(home):
    (home / ".cache").write_text("a file")
    use_compilation_cache()
    assert VARIABLE not in os.environ


def test_machines_that_differ_do_not_share_programs(home, monkeypatch):
    here, read = chosen(), pathlib.Path.read_text
    monkeypatch.delenv(VARIABLE)
    other = {"/proc/cpuinfo": "model name\t: another\nflags\t\t: fpu\n"}
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: other.get(str(path)) or read(path))
    assert chosen() != here and chosen().parent == here.parent
