"""What a compiled program communicates inside its loops, read from its text."""

import re

_COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|all-to-all|ragged-all-to-all|collective-permute|collective-broadcast"
    r"|reduce-scatter)(?:-start)?\("
)
_COMPUTATION = re.compile(r"(?:ENTRY )?%([\w.\-]+) \(.*\{")


def collectives(text: str) -> list[str]:
    """The kinds of all collectives in a program, or in a part of one."""
    return _COLLECTIVE.findall(text)


def collectives_in_loops(text: str) -> list[str]:
    """The kinds of the collectives that run in a while loop, in its body, condition or below."""
    computations = _computations(text)
    names = re.findall(r" while\(.*?condition=%([\w.\-]+), body=%([\w.\-]+)", text)
    waiting = [name for pair in names for name in pair]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            mentioned = re.findall(r"%([\w.\-]+)", computations[name])
            waiting += [other for other in mentioned if other in computations]
    return [kind for name in sorted(reached) for kind in collectives(computations[name])]


def num_loops(text: str) -> int:
    return len(re.findall(r" while\(", text))


def _computations(text: str) -> dict[str, str]:
    """The lines of every computation by its name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        start = _COMPUTATION.match(line)
        if start:
            lines = found.setdefault(start.group(1), [])
        else:
            lines.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}
