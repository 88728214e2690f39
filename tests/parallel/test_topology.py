"""Names of machines."""

import importlib.util
import os

import pytest

from rlsearch.parallel import topology as topology_module
from rlsearch.parallel.chips import H200, V5P
from rlsearch.parallel.topology import devices_of, find_topology, has_compiler, topologies


def test_a_name_counts_chips_or_cores_as_its_seller_does():
    counts = {name: find_topology(name).num_chips for name in ("v5e-16", "v5p-256", "v6e-256")}
    assert counts == {"v5e-16": 16, "v5p-256": 128, "v6e-256": 256}
    assert (find_topology("v5p-256").chip, find_topology("v5p-256").shape) == (V5P, (4, 4, 8))
    gpus = {name: find_topology(name).num_chips for name in ("h200-8", "h100-8x4")}
    assert gpus == {"h200-8": 8, "h100-8x4": 32}
    assert find_topology("h200-8").chip == H200


def test_another_name_gets_the_known_ones():
    with pytest.raises(ValueError) as error:
        find_topology("v5p-250")
    sentence = str(error.value)
    assert "no topology 'v5p-250': the nearest is v5p-256; known are v5e-1, " in sentence
    assert all(name in sentence for name in topologies()) and "\n" not in sentence


def test_gpus_are_not_compiled_for():
    assert not has_compiler(find_topology("h200-8"))


def test_variables_are_set_for_a_while_only(monkeypatch):
    monkeypatch.setenv("SET_BEFORE", "mine")
    monkeypatch.delenv("SET_MEANWHILE", raising=False)
    before = dict(os.environ)
    with pytest.raises(KeyError):
        with topology_module._environment({"SET_BEFORE": "ours", "SET_MEANWHILE": "ours"}):
            assert (os.environ["SET_BEFORE"], os.environ["SET_MEANWHILE"]) == ("mine", "ours")
            raise KeyError
    assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="libtpu is not installed")
@pytest.mark.parametrize("name", [name for name in topologies() if name[0] == "v"])
def test_the_compiler_knows_the_machine(name):
    topology, before = find_topology(name), dict(os.environ)
    devices = devices_of(topology)
    assert dict(os.environ) == before  # a process that starts later is on no TPU
    assert len(devices) == topology.num_chips
    assert devices[0].device_kind == topology.chip.kind
