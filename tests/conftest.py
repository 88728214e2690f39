"""Every test runs on eight fake CPU devices; this is read before any test imports JAX."""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["NPROC"] = "16"  # threads enough for collectives over eight devices on a small machine
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
# A second run of the tests compiles next to nothing. The folder is one that git ignores.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).resolve().parent.parent / ".pytest_cache" / "jax"),
)
