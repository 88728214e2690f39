import types

import jax
import numpy as np
import pytest

from rlsearch.benchmarks import peak
from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import make_mesh
from rlsearch.planning.chips import find_chip


def mesh_of(kind: str, devices: int = 2):
    device = types.SimpleNamespace(device_kind=kind)
    return types.SimpleNamespace(devices=np.array([device] * devices, dtype=object))


@pytest.mark.parametrize(
    ("kind", "flops"),
    [
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12),
    ],
)
def test_a_known_kind_of_device_has_the_peak_of_its_data_sheet(kind, flops):
    assert peak.peak_flops(mesh_of(kind), "bfloat16") == (2 * flops, "data sheet, bfloat16")


def test_of_another_kind_a_product_is_measured(monkeypatch):
    monkeypatch.setattr(peak, "SIZE", 64)
    flops, source = peak.peak_flops(make_mesh(ParallelConfig(data=2)), "float32")
    assert flops > 0 and source == "a product of float32 matrices, measured in this run"
    assert find_chip(jax.devices()[0].device_kind) is None
