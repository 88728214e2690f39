"""What devices say to each other, read from the text of a program."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh

from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import AXES, BATCH, make_mesh, over_data
from rlsearch.planning.collectives import collectives, num_loops

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


PARTS = """%begin (p: f32[2,8]) -> (f32[8,8], u32[]) {
  %p = f32[2,8]{1,0} parameter(0)
  %g = f32[8,8]{1,0} all-gather(%p), channel_id=7, replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}
  ROOT %c = (f32[8,8]{1,0}, u32[]) custom-call(%g), custom_call_target="AsyncCollectiveStart"
}

%end (q: f32[2,8]) -> f32[8,8] {
  %q = f32[2,8]{1,0} parameter(0)
  %h = f32[8,8]{1,0} all-gather(%q), channel_id=7, replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}
  ROOT %d = f32[8,8]{1,0} custom-call(%h), custom_call_target="AsyncCollectiveDone"
}

%meanwhile (m: f32[2,8]) -> f32[2,8] {
  %m = f32[2,8]{1,0} parameter(0)
  %f = f32[8,8]{1,0} all-gather(%m), channel_id=7, replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}
  ROOT %o = f32[2,8]{1,0} sine(%m)
}

%body (b: f32[2,8]) -> f32[2,8] {
  %b = f32[2,8]{1,0} parameter(0)
  ROOT %n = f32[2,8]{1,0} fusion(%b), kind=kLoop, calls=%meanwhile
}

%condition (e: f32[2,8]) -> pred[] {
  %e = f32[2,8]{1,0} parameter(0)
  ROOT %l = pred[] constant(false)
}

ENTRY %main (x: f32[2,8]) -> f32[8,8] {
  %x = f32[2,8]{1,0} parameter(0)
  %s = (f32[8,8]{1,0}, u32[]) fusion(%x), kind=kCustom, calls=%begin
  %w = f32[2,8]{1,0} while(%x), condition=%condition, body=%body
  %r = (f32[2,8]{1,0}, f32[2,8]{1,0}) all-reduce-start(%w), channel_id=8, replica_groups={}
  %v = (f32[2,8]{1,0}, f32[2,8]{1,0}) collective-permute-start(%w), source_target_pairs={{0,1}}
  ROOT %y = f32[8,8]{1,0} fusion(%w), kind=kCustom, calls=%end
}
"""


def test_a_collective_that_is_taken_apart_counts_once_where_it_begins():
    found = {collective.kind: collective for collective in collectives(PARTS, MESH)}
    assert sorted(c.kind for c in collectives(PARTS, MESH)) == sorted(found)
    gather, reduce = found["all-gather"], found["all-reduce"]
    assert (gather.axes, gather.members, gather.bytes) == (("data",), 4, 256)
    assert gather.sent == 256 * 3 / 4  # all but its own part
    assert gather.loops == ()  # it goes on while a loop runs that it is no part of
    assert (reduce.members, reduce.bytes, reduce.sent) == (8, 64, 2 * 64 * 7 / 8)
    assert (found["collective-permute"].axes, found["collective-permute"].sent) == (("model",), 64)


def test_a_collective_in_a_loop_is_sent_in_every_turn():
    mesh = make_mesh(ParallelConfig(data=8))

    def turns(params, x):
        def turn(_, y):
            return jax.lax.fori_loop(0, 4, lambda _, y: jax.lax.psum(jnp.sin(y), "data"), y)

        return jax.lax.fori_loop(0, 3, turn, x + params)

    x = jnp.ones((16, 4))
    text = jax.jit(over_data(mesh, turns)).lower(jnp.ones(()), x).compile().as_text()
    (found,) = collectives(text, mesh)
    assert (found.runs, found.bytes, found.members) == (12, x.nbytes / 8, 8)
