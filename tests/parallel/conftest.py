import os

import pytest

PREFIXES = "SLURM_ JAX_ TPU_ MEGASCALE_ OMPI_ KUBERNETES_ PMI PRTE_ MV2_ JSM_ FLUX_ WORLD_SIZE"


@pytest.fixture
def alone(monkeypatch):
    """Sets variables, where no other says anything of other processes."""

    def change(variables):
        for name in list(os.environ):
            if name.startswith(tuple(PREFIXES.split())):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return change
