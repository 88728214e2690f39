import contextlib
import io
import os
import pathlib
import sys
import warnings

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from rlsearch.parallel.compilation_cache import (
    VARIABLE,
    repair_compilation_cache,
    use_compilation_cache,
)


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


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """Compiles three programs, two of one name, with a cache of its own; says what is told."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    compilation_cache.reset_cache()

    def one(x):
        return 2 * x + 1

    def other(x):
        return 3 * x - 1

    def compiled() -> list[str]:
        jax.clear_caches()
        told = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stderr(told):
            repair_compilation_cache()
            for function, shape in ((one, 3), (one, 4), (other, 3)):
                jax.jit(function).lower(jax.ShapeDtypeStruct((shape,), "float32")).compile()
        return told.getvalue().splitlines()

    yield compiled
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


def contents(folder) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


DAMAGE = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "spoilt": lambda data: data[:100] + bytes([data[100] ^ 255]) + data[101:],
    "another file": lambda data: b"<html>",
    "packed by another library": lambda data: b"\x28\xb5\x2f\xfd" + data,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_entries_are_written_anew_with_one_sentence(programs, tmp_path, kind):
    assert programs() == []
    whole = contents(tmp_path)
    assert len(whole) == 3
    for path in tmp_path.iterdir():
        path.write_bytes(DAMAGE[kind](path.read_bytes()))
    (line,) = programs()
    assert line.startswith(f"warning: an entry of the compilation cache in {tmp_path} is damaged")
    assert programs() == [] and set(contents(tmp_path)) == set(whole)
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_sound_entries_of_the_same_name_stay(programs, tmp_path):
    assert programs() == []
    first, second = sorted(tmp_path.glob("jit_one-*"))
    first.write_bytes(b"")
    second_before, others = second.stat().st_mtime_ns, contents(tmp_path)
    assert len(programs()) == 1
    assert second.stat().st_mtime_ns == second_before and set(contents(tmp_path)) == set(others)


def test_what_cannot_be_read_now_stays(programs, tmp_path, monkeypatch):
    assert programs() == []
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    before = contents(tmp_path)

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(tmp_path), "open", fail)
    (line,) = programs()
    assert "cannot be taken away" in line and contents(tmp_path) == before


def test_other_warnings_are_shown_as_before(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        shown = []
        warnings.showwarning = lambda message, *_: shown.append(str(message))
        repair_compilation_cache()
        repair_compilation_cache()
        warnings.warn("something else", stacklevel=1)
    assert shown == ["something else"] and sys.stderr is not None
