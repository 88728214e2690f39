"""FLOPs and bytes, of compiled programs and of their traces, against what can be counted by hand
and what the compiler counts."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from rlsearch.config import ParallelConfig
from rlsearch.loops import while_at_most
from rlsearch.parallel.mesh import make_mesh, over_data
from rlsearch.planning.hlo import read_program
from rlsearch.planning.traced import search_tree_bytes, trace_work
from rlsearch.planning.work import EndedByData, work_of

ONE = make_mesh(ParallelConfig(data=1), jax.devices()[:1])
CONVOLUTIONS = [
    dict(window_strides=(1, 1), padding="SAME"),
    dict(window_strides=(2, 1), padding="VALID"),
    dict(window_strides=(1, 1), padding=[(2, 0), (1, 3)], lhs_dilation=(2, 1)),
    dict(window_strides=(1, 2), padding="SAME", rhs_dilation=(1, 2)),
]


def part(scope: str) -> str:
    return "search" if "search" in scope.split("/") else "other"


def traced_and_compiled(function, *arguments):
    trace = jax.jit(function).trace(*arguments)
    compiled = trace.lower().compile()
    return trace, read_program(compiled.as_text()), compiled.cost_analysis()["flops"]


def test_a_loop_counts_as_often_as_it_turns_in_its_part():
    def function(x, w):
        with jax.named_scope("search"):
            x = lax.fori_loop(0, 5, lambda _, x: lax.fori_loop(0, 3, lambda _, x: x @ w, x), x)
        return x @ w

    x = jnp.ones((4, 16))
    trace, program, _ = traced_and_compiled(function, x, jnp.ones((16, 16)))
    one = 2 * 4 * 16 * 16
    for once, times in ((False, 15), (True, 1)):
        compiled = work_of(program, part, once)
        estimated = trace_work(trace.jaxpr, ONE, part, once)
        assert {name: flops for name, flops in compiled.flops.items() if flops} == {
            "search": times * one,
            "other": one,
        }
        assert {name: flops for name, flops in estimated.flops.items() if flops} == {
            "search": times * one,
            "other": one,
        }
    # Both operands and the result of every product, and little beside them.
    least = 16 * 4 * (2 * x.size + 16 * 16)
    assert least <= work_of(program, part).total_bytes <= 1.5 * least
    assert trace_work(trace.jaxpr, ONE, part).bytes["search"] == 15 / 16 * least


def test_a_loop_that_the_data_ends_counts_at_its_longest_where_that_is_said():
    def function(x):
        def going_on(x):
            return x[0, 0] < 1.0

        with jax.named_scope("search"):
            x = while_at_most(7, going_on, lambda x: while_at_most(3, going_on, inner, x), x)
        return lax.while_loop(going_on, inner, x)

    def inner(x):
        return x @ jnp.ones((16, 16))

    x = jnp.ones((4, 16))
    trace, program, _ = traced_and_compiled(function, x)
    one = 2 * 4 * 16 * 16
    for work in (work_of(program, part), trace_work(trace.jaxpr, ONE, part)):
        assert {name: flops for name, flops in work.flops.items() if flops} == {
            "search": 21 * one,
            "other": one,
        }
        assert work.loops == EndedByData(longest=2, once=1)
    assert search_tree_bytes(trace.jaxpr) == x.nbytes


@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_a_convolution_counts_where_its_window_meets_the_input(options):
    def function(x, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, w, dimension_numbers=numbers, **options)

    x, w = jnp.ones((2, 5, 6, 3)), jnp.ones((3, 3, 3, 4))
    trace, program, flops = traced_and_compiled(function, x, w)
    assert work_of(program, part).total_flops == pytest.approx(flops, rel=0.01)
    assert trace_work(trace.jaxpr, ONE, part).flops["other"] == pytest.approx(flops, rel=0.01)


def test_of_what_is_read_and_written_at_a_place_that_place_counts():
    def function(x, rows):
        def turn(i, x):
            row = lax.dynamic_slice_in_dim(x, rows[i], 1)
            return lax.dynamic_update_slice_in_dim(x, jnp.sin(row), 1000 - rows[i], 0)

        return lax.fori_loop(0, 50, turn, x)

    x = jnp.ones((1001, 64))
    _, program, _ = traced_and_compiled(function, x, jnp.arange(50))
    assert work_of(program, part).total_bytes < 4 * x.nbytes


def test_every_device_is_charged_its_own_share_and_what_it_gathers_whole():
    mesh = make_mesh(ParallelConfig(data=4, model=2))

    def program(params, x):
        def share(params, x):
            def turn(carry, _):
                return carry @ params, None

            with jax.named_scope("search"):
                return lax.scan(turn, x, None, 3)[0]

        return over_data(mesh, share)(params, x)

    w, x = jnp.ones((16, 16)), jnp.ones((8, 16))
    trace = jax.jit(program).trace(w, x)
    work = trace_work(trace.jaxpr, mesh, part)
    assert work.flops["search"] == 3 * 2 * 8 * 16 * 16 / 8
    assert search_tree_bytes(trace.jaxpr) == x.nbytes / 4  # its loop carries a share of the rows


# As the compiler of TPUs reads a layer of stacked weights: a slice within a fusion of a fusion, and
# one that is brought to memory on the chip (`S(1)`) meanwhile.
STACKED = """HloModule jit_step, is_scheduled=true

%sliced (stack: f32[4,8,16]) -> f32[8,16] {
  %stack = f32[4,8,16]{2,1,0} parameter(0)
  %part = f32[1,8,16]{2,1,0} slice(%stack), slice={[1:2], [0:8], [0:16]}
  ROOT %layer = f32[8,16]{1,0} bitcast(%part)
}

%times (weights: f32[4,8,16], x: f32[2,8]) -> f32[2,16] {
  %weights = f32[4,8,16]{2,1,0} parameter(0)
  %x = f32[2,8]{1,0} parameter(1)
  %own = f32[8,16]{1,0} fusion(%weights), kind=kLoop, calls=%sliced
  ROOT %y = f32[2,16]{1,0} convolution(%x, %own), dim_labels=bf_io->bf
}

ENTRY %main (all: f32[4,8,16], rows: f32[2,8]) -> f32[2,16] {
  %all = f32[4,8,16]{2,1,0} parameter(0)
  %rows = f32[2,8]{1,0} parameter(1)
  %begun = ((f32[4,8,16]{2,1,0}), f32[1,8,16]{2,1,0:S(1)}, s32[]{:S(2)}) slice-start(%all)
  %brought = f32[1,8,16]{2,1,0:S(1)} slice-done(%begun)
  ROOT %result = f32[2,16]{1,0} fusion(%all, %rows), kind=kOutput, calls=%times
}
"""


def test_of_stacked_weights_the_layer_that_is_read_counts():
    layer, rows, result = 4 * 8 * 16, 4 * 2 * 8, 4 * 2 * 16
    found = work_of(read_program(STACKED), part)
    assert found.total_bytes == 2 * layer + rows + result
