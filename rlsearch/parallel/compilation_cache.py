"""The place of compiled programs from one process to the next: JAX's persistent cache."""

import hashlib
import os
import pathlib
import platform
import tempfile

VARIABLE = "JAX_COMPILATION_CACHE_DIR"


def use_compilation_cache() -> None:
    """Turns the cache on, unless JAX's own variable says where it is, or with "" that it is off.

    JAX reads the variable when it is imported, so this comes first; child processes inherit it.
    A folder that cannot be written is no reason to fail: JAX then compiles every time.
    """
    if VARIABLE in os.environ:
        return
    try:
        folder = _cache_home() / "rlsearch" / f"jax-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # the latter where a user has no home
        return
    os.environ[VARIABLE] = str(folder)


def _cache_home() -> pathlib.Path:
    """The user's cache folder, by the XDG base directory specification."""
    given = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else pathlib.Path.home() / ".cache"


def _processor() -> str:
    """Stands for the kind of processor: a CPU's programs are its machine code.

    Machines that share a home may differ, and one would stop at the other's instructions.
    """
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    kinds = ("flags", "Features", "model name")
    told = sorted({line for line in lines if line.startswith(kinds)}) or lines[:1]
    return hashlib.sha256("\n".join([platform.machine(), *told]).encode()).hexdigest()[:8]
