"""The text of a compiled program (HLO): its operations, its loops, and how often each runs.

Compilers count the body of a loop once, whatever its trip count, so that what a step costs has to
be read from the program itself.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from rlsearch.loops import most_turns

_COMPUTATION = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*\{")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%([\w.\-]+) = ")
_OPCODE = re.compile(r" *([\w\-]+)\(")
_NAME = re.compile(r"%([\w.\-]+)")
_SCOPE = re.compile(r'op_name="([^"]*)"')
_CALLED = re.compile(
    r"(?:calls|to_apply|true_computation|false_computation|branch_computations)="
    r"(?:\{([^}]*)\}|(%[\w.\-]+))"
)
_LOOP = re.compile(r"condition=%([\w.\-]+), body=%([\w.\-]+)")
_KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<= ]*)\](\{[^}]*\})?")
_BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16, "c64": 64, "c128": 128}
CALLS = ("fusion", "call", "conditional", "async-start", "custom-call")


class Array(NamedTuple):
    """A shape as a program writes it: `bf16[3,32]{1,0:T(8,128)S(1)}`."""

    dtype: str
    shape: tuple[int, ...]
    memory: int  # 0: the device's large memory; others are on the chip

    @property
    def bytes(self) -> int:
        bits = _BITS.get(self.dtype) or int((re.findall(r"\d+", self.dtype) or [0])[0])
        return math.prod(self.shape) * bits // 8


class Instruction(NamedTuple):
    """One operation."""

    name: str
    opcode: str
    shape: str  # of its result, as written
    operands: tuple[str, ...]  # names
    text: str  # between its brackets, and behind them
    root: bool

    @property
    def scope(self) -> str:
        """The named scopes and the operation of JAX that it comes from; empty: none is known."""
        match = _SCOPE.search(self.text)
        return match[1] if match else ""

    @property
    def arrays(self) -> list[Array]:
        """Its result, or the parts of it."""
        return arrays_of(self.shape)


class Loop(NamedTuple):
    """A while loop."""

    scope: str
    condition: str
    body: str
    trips: int | None  # None: as often as the data says
    most: int | None  # turns, where the data says how often and the loop at most how often

    @property
    def counted(self) -> int:
        """The turns that are counted: those known, or the most, or 1."""
        known = (turns for turns in (self.trips, self.most) if turns is not None)
        return next(known, 1)


class Program(NamedTuple):
    """Computations by name: what runs, fused into one operation or not."""

    computations: dict[str, dict[str, Instruction]]
    entry: str
    loops: dict[str, Loop]  # by the name of the body

    def called(self, instruction: Instruction) -> Iterator[tuple[str, int]]:
        """The computations that an operation runs, and how often each."""
        if instruction.opcode == "while" and (match := _LOOP.search(instruction.text)):
            for name in match.groups():
                yield name, self.loops[match[2]].counted
        elif instruction.opcode in CALLS:
            for several, one in _CALLED.findall(instruction.text):
                yield from ((name, 1) for name in _NAME.findall(several or one))


def arrays_of(shape: str) -> list[Array]:
    """The arrays of a shape, which may be a tuple."""
    found = []
    for dtype, sizes, layout in _ARRAY.findall(shape):
        memory = re.search(r"S\((\d+)\)", layout)
        dims = tuple(int(size.strip("<= ")) for size in sizes.split(",") if size.strip())
        found.append(Array(dtype, dims, int(memory[1]) if memory else 0))
    return found


def read_program(text: str) -> Program:
    """A program from `compiled.as_text()`."""
    computations: dict[str, dict[str, Instruction]] = {}
    current: dict[str, Instruction] = {}
    entry = ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            current = computations.setdefault(match[2], {})
            entry = match[2] if match[1] else entry
        elif match := _INSTRUCTION.match(line):
            instruction = _instruction(line, match)
            current[instruction.name] = instruction
    loops = {}
    for computation in computations.values():
        for instruction in computation.values():
            if instruction.opcode == "while" and (match := _LOOP.search(instruction.text)):
                condition, body = (computations.get(name, {}) for name in match.groups())
                trips = _trips(instruction, computation, condition, body)
                most = most_turns(instruction.scope) if trips is None else None
                loops[match[2]] = Loop(instruction.scope, match[1], match[2], trips, most)
    return Program(computations, entry, loops)


def _instruction(line: str, match: re.Match) -> Instruction:
    start = match.end()
    end = _closing(line, start) if line[start] == "(" else line.index(" ", start)
    opcode = _OPCODE.match(line, end)
    if opcode is None:  # a shape and nothing else: no program has that
        raise ValueError(f"it is not known what {line.strip()!r} does")
    behind = _closing(line, opcode.end() - 1)
    operands = tuple(_NAME.findall(line, opcode.end(), behind))
    text = line[opcode.end() :]
    return Instruction(match[2], opcode[1], line[start:end], operands, text, bool(match[1]))


def _closing(line: str, at: int) -> int:
    """The place behind the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(line)):
        depth += {"(": 1, ")": -1}.get(line[place], 0)
        if depth == 0:
            return place + 1
    return len(line)


def _trips(
    loop: Instruction,
    around: dict[str, Instruction],
    condition: dict[str, Instruction],
    body: dict[str, Instruction],
) -> int | None:
    """Counts how often a loop turns, where it counts up to a constant.

    By more than one, where the compiler has put several turns into one.
    """
    if known := _KNOWN_TRIPS.search(loop.text):
        return int(known[1])
    root = next((x for x in condition.values() if x.root), None)
    if root is None or root.opcode != "compare" or "direction=LT" not in root.text:
        return None
    counter, end = (condition.get(name) for name in root.operands)
    last, index = _constant(end), _index(counter)
    if last is None or index is None:
        return None
    initial = around.get(loop.operands[0])
    following = next((x for x in body.values() if x.root), None)
    first, step = None, None
    if initial is not None and initial.opcode == "tuple":
        first = _constant(around.get(initial.operands[index]))
    if following is not None and following.opcode == "tuple":
        step = _increment(body.get(following.operands[index]), body, index)
    return max(0, math.ceil((last - (first or 0)) / (step or 1)))


def _index(instruction: Instruction | None) -> int | None:
    """Returns the number of the element of the loop's state that is read."""
    if instruction is None or instruction.opcode != "get-tuple-element":
        return None
    match = re.search(r"index=(\d+)", instruction.text)
    return int(match[1]) if match else None


def _increment(
    instruction: Instruction | None, body: dict[str, Instruction], index: int
) -> int | None:
    """Returns what has been added to the counter at `index`; None if unknown."""
    if _index(instruction) == index:
        return 0
    if instruction is None or instruction.opcode not in ("add", "copy", "bitcast"):
        return None
    one, *others = (body.get(name) for name in instruction.operands)
    before = _increment(one, body, index)
    if not others or before is None:
        return before
    added = _constant(others[0])
    return None if added is None else before + added


def _constant(instruction: Instruction | None) -> int | None:
    if instruction is None or instruction.opcode != "constant":
        return None
    match = re.match(r"(-?\d+)\)", instruction.text)
    return int(match[1]) if match else None


def runs(program: Program) -> dict[str, float]:
    """Counts how often each computation runs in one run of the program; loops that the data ends
    turn as often as they may, or once where that is not known, and of the branches of a condition
    each is taken."""
    times = dict.fromkeys(program.computations, 0.0)
    times[program.entry] = 1.0
    for name in callers_first(program):
        for instruction in program.computations[name].values():
            for called, often in program.called(instruction):
                if called in times:
                    times[called] += times[name] * often
    return times


def callers_first(program: Program) -> list[str]:
    """The computations that run, each behind all those that call it."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen or name not in program.computations:
            return
        seen.add(name)
        for instruction in program.computations[name].values():
            for called, _ in program.called(instruction):
                visit(called)
        order.append(name)

    visit(program.entry)
    return order[::-1]


def scopes(program: Program) -> dict[str, str]:
    """The scope in which each computation is called, for operations that say none themselves."""
    found = {program.entry: ""}
    for name in callers_first(program):
        for instruction in program.computations[name].values():
            scope = instruction.scope or found.get(name, "")
            for called, _ in program.called(instruction):
                found.setdefault(called, scope)
    return found


def reached(program: Program, *names: str) -> set[str]:
    """Computations that run in those named, at any depth; what they reduce by is left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in program.computations:
            found.add(name)
            for instruction in program.computations[name].values():
                waiting += [called for called, _ in program.called(instruction)]
    return found
