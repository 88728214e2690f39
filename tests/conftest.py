"""Every test runs on eight fake CPU devices; this is read before any test imports JAX."""

import os
import pathlib

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["NPROC"] = "16"  # threads enough for collectives over eight devices on a small machine
# The tests' models are tiny: compiling them is what takes time, so that it is done in a hurry.
flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
# A second run of the tests compiles next to nothing. The folder is one that git ignores.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).resolve().parent.parent / ".pytest_cache" / "jax"),
)


@pytest.fixture
def bucket():
    """`gs://bucket`, in memory."""
    from tests.bucket import empty_bucket

    with empty_bucket() as path:
        yield path
