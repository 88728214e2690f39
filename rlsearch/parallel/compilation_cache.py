"""The place of compiled programs from one process to the next: JAX's persistent cache.

A process that is killed while it writes an entry leaves half of it, and a disk may spoil one. JAX
warns of such an entry at every later start, compiles, and does not write it anew where there is
one. So the warning itself, which names the program, is where the entry is taken away: JAX writes it
a moment later. Reading all entries at each start would cost every start for one in thousands.
"""

import hashlib
import os
import pathlib
import platform
import re
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_DAMAGED = r"Error reading persistent compilation cache entry for '([^']*)'"


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


def repair_compilation_cache() -> None:
    """Takes damaged entries away when JAX meets them, and warns once, in one sentence.

    Their place is that of the variable at that time. Other warnings are shown as before.
    """
    # A filter of the user's own, as of PYTHONWARNINGS, decides what is shown, and not what is done.
    warnings.filterwarnings("always", message=_DAMAGED)
    if not isinstance(warnings.showwarning, _Repair):
        warnings.showwarning = _Repair(warnings.showwarning)


class _Repair:
    """Shows warnings, but for those of damaged entries."""

    def __init__(self, show: Callable[..., None]):
        self._show, self._told = show, False

    def __call__(self, message: Warning | str, *where, **more) -> None:
        damaged = re.match(_DAMAGED, str(message))
        if damaged is None:
            self._show(message, *where, **more)
            return
        removed = _remove_damaged(os.environ.get(VARIABLE, ""), damaged[1])
        if not self._told:
            self._told = True
            done = "is written anew" if removed else "cannot be taken away"
            print(
                f"warning: an entry of the compilation cache in {os.environ.get(VARIABLE)} is "
                f"damaged and {done}, as any others will be without a word",
                file=sys.stderr,
            )


def _remove_damaged(folder: str, program: str) -> int:
    """Removes the entries of a program that cannot be used; returns their number.

    They are those that do not unpack. Where all do, or are packed by another library, it is not
    known which JAX has met, and all go: they cost a compilation each, at most. What the disk does
    not give at this moment is left alone.
    """
    if not folder or "://" in folder:
        return 0
    entries = pathlib.Path(folder).glob("*-cache")
    mine = [
        entry for entry in entries if entry.name.rpartition("-")[0].rpartition("-")[0] == program
    ]
    try:
        damaged = [entry for entry in mine if not _unpacks(entry)]
        for entry in damaged or mine:
            entry.unlink(missing_ok=True)  # another process may be about the same
    except OSError:
        return 0
    return len(damaged or mine)


def _unpacks(entry: pathlib.Path) -> bool:
    """Tells whether an entry is whole, as far as can be said."""
    unpacking = zlib.decompressobj()
    with entry.open("rb") as file:
        start = file.read(4)
        if start == b"\x28\xb5\x2f\xfd":  # Zstandard's
            return True
        file.seek(0)
        try:
            while chunk := file.read(1 << 20):
                unpacking.decompress(chunk)
        except zlib.error:
            return False
    return unpacking.eof


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
