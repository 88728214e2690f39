"""How often what runs, read from the text of a program."""

import pytest

from rlsearch.planning.hlo import Array, arrays_of, read_program, runs, scopes

# As a TPU's compiler writes loops: the bound in the condition, the step in the body.
LOOP = """HloModule jit_step

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[]{:T(128)}, f32[8]{0:T(128)S(1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %x = f32[8]{0:T(128)S(1)} get-tuple-element(%p), index=1
  %step = s32[]{:T(128)} constant(STEP)
  %next = s32[]{:T(128)} add(%i, %step)
  %y = f32[8]{0:T(128)} fusion(%x), kind=kLoop, calls=%fused
  ROOT %t = (s32[]{:T(128)}, f32[8]{0:T(128)}) tuple(%next, %y)
}

%fused (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  ROOT %s = f32[8]{0} sine(%a), metadata={op_name="jit(step)/search/while/body/sin"}
}

%condition (p.1: (s32[], f32[8])) -> pred[] {
  %p.1 = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  %end = s32[]{:T(128)} constant(12)
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %end), direction=COMPARE
}

ENTRY %main (z: f32[8]) -> f32[8] {
  %z = f32[8]{0:T(128)} parameter(0)
  %from = s32[]{:T(128)} constant(4)
  %start = (s32[]{:T(128)}, f32[8]{0:T(128)}) tuple(%from, %z)
  %w = (s32[]{:T(128)}, f32[8]{0:T(128)}) while(%start), condition=%condition, body=%body, METADATA
  ROOT %out = f32[8]{0:T(128)} get-tuple-element(%w), index=1
}
"""


def program(step: int = 1, compare: str = "LT", known: str = ""):
    metadata = f'metadata={{op_name="jit(step)/search/while"}}{known}'
    text = LOOP.replace("STEP", str(step)).replace("COMPARE", compare)
    return read_program(text.replace("METADATA", metadata))


@pytest.mark.parametrize(("step", "trips"), [(1, 8), (2, 4), (3, 3)])
def test_a_loop_turns_from_its_start_to_its_end_by_its_step(step, trips):
    (loop,) = program(step).loops.values()
    assert (loop.scope, loop.trips) == ("jit(step)/search/while", trips)
    assert runs(program(step)) == {"main": 1, "body": trips, "fused": trips, "condition": trips}


def test_what_the_compiler_knows_of_a_loop_comes_first():
    known = ', backend_config={"known_trip_count":{"n":"5"}}'
    assert program(known=known).loops["body"].trips == 5


def test_a_loop_that_the_data_ends_turns_once_and_is_said_to():
    assert program(compare="NE").loops["body"].trips is None
    assert runs(program(compare="NE"))["fused"] == 1


def test_what_says_no_scope_itself_has_that_of_its_caller():
    assert scopes(program())["fused"] == "jit(step)/search/while"


def test_arrays_have_their_size_and_their_memory():
    shape = "(bf16[3,32]{1,0:T(8,128)(2,1)S(1)}, pred[], /*index=5*/u4[10]{0})"
    found = arrays_of(shape)
    assert found == [Array("bf16", (3, 32), 1), Array("pred", (), 0), Array("u4", (10,), 0)]
    assert [array.bytes for array in found] == [192, 1, 5]
