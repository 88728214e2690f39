import logging
import os
import subprocess
import sys
import warnings

import pytest

from rlsearch.cli import quiet
from rlsearch.cli.quiet import quiet_libraries

# A package that stands in for JAX, and is as loud as it is with plugins for absent hardware.
NOISY_JAX = """
import logging, os, warnings
os.write(2, b"I0000 cudart_stub.cc:31] Could not find cuda drivers\\n")
logger = logging.getLogger("jax._src.xla_bridge")
warnings.warn("transparent hugepages are not enabled")
def devices():
    logger.debug("Loading plugin module %s", "jax_plugins.xla_cuda12")
    os.write(2, b"I0000 cuda\\n")
    logger.error("Jax plugin configuration error")
    logger.debug("Initializing backend '%s'", "tpu")
    os.write(2, b"E0000 libtpu\\n")
    if os.environ.get("FAILS"):
        raise RuntimeError("no backend")
    logger.warning("An NVIDIA GPU may be present on this machine")
    logger.debug("Initializing backend '%s'", "cpu")
    os.write(2, b"XLA says that it is an error\\n")
if os.environ.get("BREAKS"):
    raise ImportError("jaxlib is too old")
"""
SCRIPT = """
import sys
from rlsearch.cli import quiet
quiet._ACCELERATORS = ()
try:
    with quiet.quiet_libraries():
        import jax
        jax.devices()
except Exception as error:
    print("error:", error, file=sys.stderr)
import logging, os
os.write(2, b"end\\n")
assert logging.getLogger("jax._src.xla_bridge").level == 0
"""


def said(tmp_path, script=SCRIPT, options=(), **variables) -> list[str]:
    """Lines on standard error of a process whose JAX is noisy."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text(NOISY_JAX)
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', os.getcwd())}"
    done = subprocess.run(
        [sys.executable, *options, "-c", script],
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_plugins_for_absent_hardware_are_silent_and_what_follows_is_not(tmp_path):
    assert said(tmp_path) == ["XLA says that it is an error", "end"]


def test_standard_error_is_back_when_no_backend_is_there(tmp_path):
    assert said(tmp_path, FAILS="1") == ["error: no backend", "end"]


def test_an_import_that_fails_shows_what_was_said(tmp_path):
    lines = said(tmp_path, BREAKS="1")
    assert "Could not find cuda drivers" in lines[0] and lines[-2:] == [
        "error: jaxlib is too old",
        "end",
    ]


def test_nothing_is_held_back_where_there_is_an_accelerator(tmp_path):
    there = SCRIPT.replace("_ACCELERATORS = ()", "_ACCELERATORS = ('/dev/null',)")
    lines = said(tmp_path, there)
    assert len(lines) == 5 and "E0000 libtpu" in lines


@pytest.mark.parametrize(
    ("variables", "options", "shown"),
    [
        ({"JAX_LOGGING_LEVEL": "WARNING"}, (), "An NVIDIA GPU may be present"),
        ({"JAX_DEBUG_LOG_MODULES": "jax"}, (), "Jax plugin configuration error"),
        ({}, ("-W", "default"), "transparent hugepages"),
    ],
)
def test_what_the_user_wants_to_see_is_shown(tmp_path, variables, options, shown):
    there = SCRIPT.replace("_ACCELERATORS = ()", "_ACCELERATORS = ('/dev/null',)")
    assert any(shown in line for line in said(tmp_path, there, options, **variables))


def test_the_variables_of_the_user_win_and_all_is_put_back(monkeypatch):
    for name in quiet._QUIET:
        monkeypatch.setenv(name, "user's")
    monkeypatch.delenv("GRPC_VERBOSITY")
    filters, logger = list(warnings.filters), logging.getLogger(quiet._BACKENDS)
    before = list(logger.filters), logger.level, list(sys.meta_path)
    with quiet_libraries():
        assert {os.environ[name] for name in quiet._QUIET} == {"user's", "ERROR"}
        assert not logger.filter(logging.makeLogRecord({"msg": "anything"}))
    assert (list(logger.filters), logger.level, list(sys.meta_path)) == before
    assert warnings.filters == filters


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        ("train game24 --parallel.data 7 --run-dir run", 2),  # behind the look at the devices
        ("solve nowhere 4,7,8,8", 2),
    ],
)
def test_an_erroneous_command_is_one_line_on_standard_error(tmp_path, argv, code):
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=2")
    path = os.environ.get("PYTHONPATH", os.getcwd())
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "rlsearch", *argv.split()],
        cwd=tmp_path,
        env={name: value for name, value in environment.items() if name != "JAX_PLATFORMS"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (code, "")
    said = done.stderr.removeprefix("game24: preparing to train in run\n")
    assert said.startswith("error: ") and said.count("\n") == 1, done.stderr
