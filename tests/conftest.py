"""Every test runs on eight fake CPU devices; this is read before any test imports JAX."""

import contextlib
import ctypes
import dataclasses
import functools
import gc
import importlib.metadata
import os
import pathlib

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["NPROC"] = "16"  # threads enough for collectives over eight devices on a small machine
# The tests' models are tiny: compiling them is what takes time, so that it is done in a hurry.
flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
if importlib.metadata.version("jaxlib") == "0.10.2":  # a flag that JAX does not know ends it
    flags += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
# A second run of the tests compiles next to nothing. The folder is one that git ignores.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).resolve().parent.parent / ".pytest_cache" / "jax"),
)

MUCH_MEMORY = 1_500_000_000  # bytes, of which JAX alone takes a third


@pytest.fixture(autouse=True, scope="session")
def shared_steps():
    """Trainings of one experiment in one process trace and compile their steps once.

    Stages and steps are pure, so that nothing but time depends on it. What is logged, saved and
    evaluated is no part of an experiment here. A process of its own shares nothing.

    Yields what forgets them all.
    """
    import jax

    from rlsearch.config import LogConfig, ProfileConfig
    from rlsearch.runs.lineage import Lineage
    from rlsearch.training import loop

    build, make_step = loop.build_stages, loop.make_step
    steps = {}

    @functools.cache
    def built(config, modules, directory):
        return build(Lineage(config, modules, directory))

    def build_stages(lineage):
        apart = {"name": "", "log": LogConfig(), "profile": ProfileConfig(), "evaluation": ()}
        # Rows that a stage writes are read from the run's own folder.
        directory = lineage.directory if lineage.of_kind("rows") else ""
        config = dataclasses.replace(lineage.config, **apart)
        return built(config, lineage.modules, directory)

    def shared_step(stage, optimizer, mesh, shardings, accumulate):
        leaves, structure = jax.tree.flatten(shardings)
        key = stage, mesh, *leaves, structure, accumulate
        if key not in steps:
            steps[key] = make_step(stage, optimizer, mesh, shardings, accumulate)
        return steps[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build_stages", build_stages)
        patch.setattr(loop, "make_step", shared_step)
        yield lambda: (steps.clear(), built.cache_clear())


@pytest.fixture(autouse=True, scope="module")
def forgotten(shared_steps):
    """Behind a file whose programs have taken much memory, they are given back.

    What a later file needs again is read from the cache of compilations.
    """
    yield
    if _resident() < MUCH_MEMORY:
        return
    import jax

    shared_steps()
    jax.clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # a C library that knows how
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    """Bytes of memory that this process has; 0 where that is not told."""
    try:
        pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def bucket():
    """`gs://bucket`, in memory."""
    from tests.bucket import empty_bucket

    with empty_bucket() as path:
        yield path
