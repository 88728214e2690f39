"""Names of machines."""

import pytest

from rlsearch.planning.chips import H200, V5P
from rlsearch.planning.topology import find_topology, topologies


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
