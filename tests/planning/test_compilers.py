"""Compilers of machines that are not here."""

import os
import signal
from pathlib import Path

import pytest

from rlsearch.planning import compilers
from rlsearch.planning.compilers import CUDA, LIBTPU, Compiler, compiler_of, devices_of
from rlsearch.planning.topology import find_topology, topologies


def test_a_machine_is_compiled_for_by_the_compiler_of_its_chips():
    assert compiler_of(find_topology("v5e-16")) is LIBTPU
    assert compiler_of(find_topology("h100-8x4")) is CUDA


def test_a_compiler_is_installed_with_all_that_it_needs():
    assert Compiler("test", ("pytest", "jax"), {}).installed
    assert Compiler("test", ("pytest",), {}).version == f"pytest {pytest.__version__}"
    assert not Compiler("test", ("pytest", "no-such-package-of-ours"), {}).installed


def test_variables_are_set_for_a_while_only(monkeypatch):
    monkeypatch.setenv("SET_BEFORE", "mine")
    monkeypatch.delenv("SET_MEANWHILE", raising=False)
    before = dict(os.environ)
    with pytest.raises(KeyError):
        with compilers._environment({"SET_BEFORE": "ours", "SET_MEANWHILE": "ours"}):
            assert (os.environ["SET_BEFORE"], os.environ["SET_MEANWHILE"]) == ("mine", "ours")
            raise KeyError
    assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", list(topologies()))
def test_the_compiler_knows_the_machine(name):
    topology, before = find_topology(name), dict(os.environ)
    if not compiler_of(topology).installed:
        pytest.skip(f"{compiler_of(topology).packages[0]} is not installed")
    devices = devices_of(topology)
    assert len(devices) == topology.num_chips
    assert devices[0].device_kind == topology.chip.kind
    status = Path("/proc/self/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    record = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert bool(int(ignored.split()[1], 16) & 1) == record  # libtpu has it ignored
    assert dict(os.environ) == before  # a process that starts later is on no such machine
