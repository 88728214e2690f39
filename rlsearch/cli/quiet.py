"""Keeps what compilers and plugins say of themselves away from a command's own sentences.

Most of it is silenced by variables and loggers that they read when they are imported, so that this
comes before. Plugins for hardware that the machine does not have listen to neither: while those are
loaded, standard error is held back, and never on a machine that has an accelerator.

What a user has set wins. TF_CPP_MIN_LOG_LEVEL=0 shows XLA's log again, TPU_STDERR_LOG_LEVEL=0 that
of libtpu, JAX_LOGGING_LEVEL=WARNING JAX's own and the plugins', PYTHONWARNINGS=default the rest.
"""

import contextlib
import glob
import importlib.abc
import importlib.util
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from typing import BinaryIO

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors and worse: they say which host a run has lost
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
}
_JAX_LOGGERS = ("JAX_LOGGING_LEVEL", "JAX_DEBUG_LOG_MODULES")  # the user wants to see JAX's log
_BACKENDS = "jax._src.xla_bridge"  # the logger of plugins and of missing accelerators
_ACCELERATORS = ("/dev/nvidia[0-9]*", "/dev/dxg", "/dev/kfd", "/dev/accel*", "/dev/vfio/[0-9]*")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences what is no command's own while one runs, and in the processes that it starts."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        if not sys.warnoptions:
            warnings.filterwarnings("ignore", module=r"(jax|jaxlib|jax_plugins|libtpu)(\.|$)")
        if not any(os.environ.get(name) for name in _JAX_LOGGERS):
            _quiet_backends(stack)
        yield


def _quiet_backends(stack: contextlib.ExitStack) -> None:
    logger, held = logging.getLogger(_BACKENDS), None
    if "jax" not in sys.modules and not any(glob.glob(pattern) for pattern in _ACCELERATORS):
        held = stack.enter_context(_Held())
        first = _FirstImport(held)
        sys.meta_path.insert(0, first)
        stack.callback(lambda: first in sys.meta_path and sys.meta_path.remove(first))
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.DEBUG)  # by which it says when it loads a plugin
    backends = _Backends(held)
    logger.addFilter(backends)
    stack.callback(logger.removeFilter, backends)


class _Held:
    """Standard error of native code, kept from the terminal for a while, and never at the end."""

    def __init__(self):
        self._own: int | None = None  # the descriptor, meanwhile
        self._file: BinaryIO | None = None

    def __enter__(self) -> "_Held":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """Holds it back from now on, where there is room for it."""
        if self._own is not None:
            return
        with contextlib.suppress(OSError):
            file = tempfile.TemporaryFile()
            self._own, self._file = os.dup(2), file
            os.dup2(file.fileno(), 2)

    def end(self, show: bool = False) -> None:
        """Lets it through again; `show` says also what was held back."""
        if self._own is None or self._file is None:
            return
        os.dup2(self._own, 2)
        os.close(self._own)
        if show:
            self._file.seek(0)
            os.write(2, self._file.read())
        self._file.close()
        self._own = self._file = None


class _FirstImport(importlib.abc.MetaPathFinder):
    """Holds back what is said while JAX, and with it some plugins, is imported."""

    def __init__(self, held: _Held):
        self._held = held

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        del path, target
        if fullname != "jax":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module) -> None:
                self._held.begin()
                try:
                    load(module)
                except BaseException:
                    self._held.end(show=True)
                    raise
                self._held.end()

            spec.loader.exec_module = exec_module
        return spec


class _Backends(logging.Filter):
    """Lets nothing through; holds native code back while plugins are loaded and looked at."""

    def __init__(self, held: _Held | None):
        super().__init__()
        self._held = held

    def filter(self, record: logging.LogRecord) -> bool:
        if self._held is not None:
            looking = record.msg.startswith(("Loading plugin", "Initializing backend"))
            if looking and record.args != ("cpu",):
                self._held.begin()
            else:
                self._held.end()
        return False
