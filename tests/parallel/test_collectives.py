"""What devices say to each other, read from the text of a program."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh

from rlsearch.config import ParallelConfig
from rlsearch.parallel.collectives import collectives, num_loops
from rlsearch.parallel.mesh import AXES, BATCH, make_mesh, over_data

MESH = AbstractMesh((1, 4, 2), AXES)


@pytest.mark.parametrize(
    ("written", "axes"),
    [
        ("replica_groups={{0,1},{2,3},{4,5},{6,7}}", ("model",)),
        ("replica_groups={{0,2,4,6},{1,3,5,7}}", ("data",)),
        ("replica_groups={}", ("data", "model")),
        ("replica_groups=[4,2]<=[8]", ("model",)),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", ("data",)),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", ("data",)),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=2,'axis_2'=1] {'axis_1'}", ("model",)),
        ("replica_groups=mesh['a'=4,'b'=2] {'a','b'}", ("data", "model")),
        ("replica_groups=mesh['a'=8] {'a':(4)2}", ("model",)),
        ("replica_groups=mesh['a'=8] {'a':(1)4}", ("data",)),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}", ("data",)),
        ("source_target_pairs={{0,1},{1,0},{2,3},{3,2}}", ("model",)),
        ("source_target_pairs={{0,2},{2,0}}", ("data",)),
    ],
)
def test_groups_of_devices_are_named_by_mesh_axes(written, axes):
    text = (
        f"ENTRY %main () -> f32[] {{\n  %x = f32[4]{{0}} all-gather(%y), {written}, dims={{0}}\n}}"
    )
    (found,) = collectives(text, MESH)
    assert (found.kind, found.axes, found.loops) == ("all-gather", axes, ())


def test_groups_that_cannot_be_read_are_no_silence():
    text = "ENTRY %main () -> f32[] {\n  %x = f32[4]{0} all-gather(%y), replica_groups=new\n}"
    with pytest.raises(ValueError, match="not known which devices talk"):
        collectives(text, MESH)


@pytest.mark.parametrize("axis", BATCH)
@pytest.mark.parametrize("inside", [True, False])
def test_a_collective_in_a_loop_is_found_with_its_axis(inside, axis):
    mesh = make_mesh(ParallelConfig(replica=2, data=2))

    def talk(x):
        return jax.lax.psum(jnp.sin(x), axis) / 2

    def turn(_, x):
        # A loop within the loop: what is reached through one body counts too.
        return jax.lax.fori_loop(0, x.shape[0], lambda _, y: talk(y) if inside else jnp.sin(y), x)

    def program(params, x):
        with jax.named_scope("outer"):
            x = jax.lax.fori_loop(0, 3, turn, x + params)
        return x if inside else talk(x)

    text = jax.jit(over_data(mesh, program)).lower(jnp.ones(()), jnp.ones(8)).compile().as_text()
    (found,) = collectives(text, mesh)
    assert (found.kind, found.axes) == ("all-reduce", (axis,))
    assert num_loops(text) == 2
    assert len(found.loops) == (2 if inside else 0)
    assert all("/outer/while" in scope for scope in found.loops)
