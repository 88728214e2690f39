"""Products and talk of programs for GPUs, as their compiler writes them."""

import pytest
from jax.sharding import AbstractMesh

from rlsearch.parallel.mesh import AXES
from rlsearch.planning.collectives import collectives
from rlsearch.planning.hlo import read_program
from rlsearch.planning.work import work_of

# Recorded from the CUDA plugin of jax 0.10.2 for eight H100s, and cut short.
PROGRAM = """HloModule jit_step, is_scheduled=true, num_partitions=8

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%fused_reduce (row: f32[64], matrix: f32[64,128]) -> f32[128] {
  %row = f32[64]{0} parameter(0)
  %matrix = f32[64,128]{1,0} parameter(1)
  %zero = f32[] constant(0)
  %wide = f32[64,128]{1,0} broadcast(%row), dimensions={0}
  %each = f32[64,128]{1,0} multiply(%wide, %matrix)
  ROOT %reduce.1 = f32[128]{0} reduce(%each, %zero), dimensions={0}, to_apply=%add, metadata={op_name="jit(step)/collect/search/while/body/network/dot_general"}
}

%body (carry: (s32[], f32[64], f32[64,128])) -> (s32[], f32[64], f32[64,128]) {
  %carry = (s32[], f32[64]{0}, f32[64,128]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %vector = f32[64]{0} get-tuple-element(%carry), index=1
  %weights = f32[64,128]{1,0} get-tuple-element(%carry), index=2
  %input_reduce_fusion = f32[128]{0} fusion(%vector, %weights), kind=kInput, calls=%fused_reduce
  ROOT %next = (s32[], f32[64]{0}, f32[64,128]{1,0}) tuple(%i, %vector, %weights)
}

%condition (carry.1: (s32[], f32[64], f32[64,128])) -> pred[] {
  %carry.1 = (s32[], f32[64]{0}, f32[64,128]{1,0}) parameter(0)
  ROOT %going = pred[] constant(true)
}

ENTRY %main (x: bf16[2,32,64], w: bf16[2,64,128], image: f32[8,9,9,3], kernel: f32[16,3,3,3], gradient: f32[8,9,9,16], start: (s32[], f32[64], f32[64,128]), a: f32[2,16], b: f32[18,9]) -> bf16[] {
  %x = bf16[2,32,64]{2,1,0} parameter(0)
  %w = bf16[2,64,128]{2,1,0} parameter(1)
  %image = f32[8,9,9,3]{3,2,1,0} parameter(2)
  %kernel = f32[16,3,3,3]{3,2,1,0} parameter(3)
  %gradient = f32[8,9,9,16]{3,2,1,0} parameter(4)
  %start = (s32[], f32[64]{0}, f32[64,128]{1,0}) parameter(5)
  %a = f32[2,16]{1,0} parameter(6)
  %b = f32[18,9]{1,0} parameter(7)
  %all-gather-start = ((f32[2,16]{1,0}, f32[18,9]{1,0}), (f32[16,16]{1,0}, f32[144,9]{1,0})) all-gather-start(%a, %b), channel_id=5, replica_groups=mesh['axis_0'=8,'axis_1'=1] {'axis_0'}, dimensions={0}, use_global_device_ids=true, metadata={op_name="jit(step)/collect/sharding_constraint"}, backend_config={"operation_queue_id":"0","collective_backend_config":{"is_sync":false}}
OPERATION
  %all-gather-done = (f32[16,16]{1,0}, f32[144,9]{1,0}) all-gather-done(%all-gather-start), metadata={op_name="jit(step)/collect/sharding_constraint"}
  ROOT %out = bf16[] constant(0)
}
"""  # noqa: E501
GEMM = (
    "  %custom-call.1 = (bf16[2,32,128]{2,1,0}, s8[33554432]{0}) custom-call(%x, %w), "
    'custom_call_target="__cublas$TARGET", metadata={op_name="jit(step)/update/dot_general"}, '
    'backend_config={"operation_queue_id":"0","gemm_backend_config":{"alpha_real":1,"beta":0,'
    '"dot_dimension_numbers":{"lhs_contracting_dimensions":["2"],"rhs_contracting_dimensions":'
    '["1"],"lhs_batch_dimensions":["0"],"rhs_batch_dimensions":["0"]},"epilogue":"DEFAULT"}}'
)
CONVOLUTION = (
    "  %cudnn-conv.1 = (RESULT, u8[1024]{0}) custom-call(OPERANDS), "
    "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, "
    'custom_call_target="__cudnn$convTARGET", '
    'metadata={op_name="jit(step)/update/conv_general_dilated"}, '
    'backend_config={"cudnn_conv_backend_config":{"activation_mode":"kNone"}}'
)
LOOP = (
    "  %while.1 = (s32[], f32[64]{0}, f32[64,128]{1,0}) while(%start), condition=%condition, "
    'body=%body, metadata={op_name="jit(step)/collect/search/while"}, '
    'backend_config={"known_trip_count":{"n":"5"}}'
)


def part(scope: str) -> str:
    return next((name for name in ("search", "update") if name in scope.split("/")), "other")


def program(operation: str):
    return read_program(PROGRAM.replace("OPERATION", operation))


def done(operation: str):
    """FLOPs by part, and bytes moved with those of the empty program left out."""
    work, empty = work_of(program(operation), part), work_of(program(""), part)
    flops = {name: value for name, value in work.flops.items() if value}
    return flops, work.total_bytes - empty.total_bytes


@pytest.mark.parametrize("target", ["gemm", "lt$matmul"])
def test_a_product_of_cublas_is_told_what_it_sums_over_and_given_room(target):
    flops, moved = done(GEMM.replace("TARGET", target))
    assert flops == {"update": 2 * 2 * 32 * 64 * 128}
    assert moved == 2 * (2 * 32 * 64 + 2 * 64 * 128 + 2 * 32 * 128)  # nothing for the room


IMAGE, KERNEL, GRADIENT = 8 * 81 * 3, 16 * 9 * 3, 8 * 81 * 16


@pytest.mark.parametrize(
    ("target", "result", "operands", "elements"),
    [
        ("Forward", "f32[8,9,9,16]{3,2,1,0}", "%image, %kernel", IMAGE + KERNEL + GRADIENT),
        (
            "BiasActivationForward",
            "f32[8,9,9,16]{3,2,1,0}",
            "%image, %kernel, %bias",
            IMAGE + KERNEL + GRADIENT,
        ),
        (
            "BackwardInput",
            "f32[8,9,9,3]{3,2,1,0}",
            "%gradient, %kernel",
            GRADIENT + KERNEL + IMAGE,
        ),
        (
            "BackwardFilter",
            "f32[16,3,3,3]{3,2,1,0}",
            "%image, %gradient",
            IMAGE + GRADIENT + KERNEL,
        ),
    ],
)
def test_a_convolution_of_cudnn_costs_as_much_as_its_gradients(target, result, operands, elements):
    call = CONVOLUTION.replace("TARGET", target).replace("RESULT", result)
    flops, moved = done(call.replace("OPERANDS", operands))
    inside = (3 * 9 - 2) ** 2  # of the window's places: two of three at each border
    assert flops == {"update": 2 * 8 * inside * 3 * 16}
    assert moved == 4 * elements


def test_a_product_with_a_vector_is_a_sum_and_counts_as_often_as_its_loop_turns():
    flops, moved = done(LOOP)
    assert flops == {"search": 5 * 2 * 64 * 128}
    assert moved == 5 * 4 * (64 + 64 * 128 + 128)


def test_a_gathering_that_is_begun_and_ended_is_one():
    mesh = AbstractMesh((1, 8, 1), AXES)
    (found,) = collectives(program(GEMM.replace("TARGET", "gemm")), mesh)
    assert (found.kind, found.axes, found.loops) == ("all-gather", ("data",), ())
    assert found.scope == "jit(step)/collect/sharding_constraint"
    assert (found.bytes, found.members, found.runs) == (4 * (16 * 16 + 144 * 9), 8, 1)
