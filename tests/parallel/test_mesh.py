"""The mesh, and parameters on it."""

import types

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from rlsearch.config import ParallelConfig, ShardingRules
from rlsearch.parallel.mesh import abstract_mesh, arrange, data_sharding, make_mesh, mesh_sizes
from rlsearch.parallel.sharding import filled, gathered, param_shardings
from tests.toy import wide_model


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (ParallelConfig(), (1, 8, 1)),
        (ParallelConfig(model=2), (1, 4, 2)),
        (ParallelConfig(replica=2, model=2), (2, 2, 2)),
        (ParallelConfig(data=2), (1, 2, 1)),  # the first devices alone
    ],
)
def test_all_axes_are_there_and_data_takes_what_is_left(config, sizes):
    mesh = make_mesh(config)
    assert dict(mesh.shape) == dict(zip(("replica", "data", "model"), sizes, strict=True))
    assert abstract_mesh(config, 8).shape == mesh.shape
    assert mesh.devices.ravel().tolist() == jax.devices()[: mesh.size]  # model on neighbours


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ParallelConfig(model=3),
            "replica x parallel.model is 1 x 3: .* divide .* devices, 8",
        ),
        (ParallelConfig(replica=3, model=5), "parallel.model is 3 x 5: .* devices, 8"),
        (ParallelConfig(2, 4, 2), "replica x data x model is 2 x 4 x 2 = 16: there are only 8 dev"),
    ],
)
def test_sizes_that_do_not_fit_the_devices_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        mesh_sizes(config, 8)


def test_several_processes_use_all_their_devices():
    devices = [types.SimpleNamespace(process_index=i // 4) for i in range(8)]
    with pytest.raises(ValueError, match="= 4: over 2 processes it must be all 8 devices"):
        make_mesh(ParallelConfig(data=4), devices)


def test_slow_links_lie_between_replicas():
    devices = [
        types.SimpleNamespace(slice_index=i % 2, id=i, platform="none", device_kind="")
        for i in range(8)
    ]
    found = arrange(devices, (4, 1, 2))
    assert found.shape == (4, 1, 2)
    # Each replica lies in one slice, though neighbours by number do not.
    assert [len({d.slice_index for d in replica.ravel()}) for replica in found] == [1] * 4
    with pytest.raises(ValueError, match="parallel.replica is 1: the devices are 2 slices"):
        arrange(devices, (1, 4, 2))


def specs(rules, **sizes):
    model, params = wide_model(num_layers=1)
    mesh = make_mesh(ParallelConfig(**sizes))
    shardings = param_shardings(model.logical_axes(), params, mesh, rules)
    return shardings, jax.tree.map(lambda x: x.spec, shardings)


def test_rules_say_where_each_axis_of_a_parameter_lies():
    shardings, spec = specs(ShardingRules(), data=2, model=4)
    attention, mlp = spec["blocks"][0]["attention"], spec["blocks"][0]["mlp"]
    assert attention["query"] == PartitionSpec("data", "model", None)
    assert attention["out"] == PartitionSpec("model", None, "data")
    assert mlp["up"] == PartitionSpec("data", "model")
    assert spec["norm"]["scale"] == PartitionSpec(None)
    assert spec["embedding"] == PartitionSpec(None, "data")  # five tokens stay together
    whole = jax.tree.map(lambda x: x.spec, gathered(shardings))
    assert whole["blocks"][0]["attention"]["query"] == PartitionSpec(None, "model", None)

    other = ShardingRules(embed="", mlp="data", heads="data")
    mlp = specs(other, data=2, model=4)[1]["blocks"][0]["mlp"]
    assert mlp["up"] == PartitionSpec(None, "data")
    both = ShardingRules(mlp="data")
    mlp = specs(both, data=2, model=4)[1]["blocks"][0]["mlp"]
    assert mlp["up"] == PartitionSpec("data", None) and mlp["down"] == PartitionSpec("data", None)


def test_parameters_are_made_in_their_places_and_are_the_same_there():
    model, _ = wide_model(num_layers=1)
    shardings, _ = specs(ShardingRules(), data=2, model=4)
    params = jax.jit(model.init)(jax.random.key(0))
    made = jax.jit(model.init, out_shardings=shardings)(jax.random.key(0))
    for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(made), strict=True):
        np.testing.assert_array_equal(one, other)
    query = made["blocks"][0]["attention"]["query"]
    assert {shard.data.shape for shard in query.addressable_shards} == {(8, 1, 4)}


def test_heads_that_cannot_be_shared_are_refused():
    model, params = wide_model(num_heads=6, num_kv_heads=6)
    mesh, axes = make_mesh(ParallelConfig(data=2, model=4)), model.logical_axes()
    with pytest.raises(ValueError, match=r"model.num_heads is 6: .* multiple of parallel.model, 4"):
        param_shardings(axes, params, mesh, ShardingRules())
    shardings = param_shardings(axes, params, mesh, ShardingRules(heads=""))
    assert shardings["blocks"][0]["attention"]["key"].spec == PartitionSpec("data", None, None)


def test_an_axis_without_a_rule_is_named():
    with pytest.raises(ValueError, match="an axis 'experts': parallel.rules has embed, heads"):
        param_shardings(
            {"w": ("embed", "experts")},
            {"w": np.zeros((8, 8))},
            make_mesh(ParallelConfig()),
            ShardingRules(),
        )


def test_what_files_hold_is_read_once_by_lanes():
    mesh, asked = make_mesh(ParallelConfig(model=2)), []
    here = {"a": np.arange(24.0, dtype=np.float32).reshape(8, 3), "b": np.arange(8)[::-1]}
    lanes = jax.device_put(jax.tree.map(np.zeros_like, here), data_sharding(mesh))

    def read(some: range):
        asked.append(some)
        return jax.tree.map(lambda x: x[some.start : some.stop], here)

    found = filled(lanes, read)
    assert asked == [range(0, 2), range(2, 4), range(4, 6), range(6, 8)]
    for name, x in here.items():
        assert found[name].sharding == lanes[name].sharding
        for shard in found[name].addressable_shards:
            np.testing.assert_array_equal(shard.data, x[shard.index])
