"""Odd records of a file: they are left out, counted and shown, and cost the others nothing."""

import sys

from rlsearch.parallel.agreement import is_main

SHOWN = 3  # records of which the reason is said
_LONGEST = 200  # characters of a path or a reason that are said


class LeftOut:
    """Counts the lines of one file that are left out, and keeps the first reasons.

    Attributes:
        count: lines that are left out.
    """

    def __init__(self, path: str, what: str):
        """Nothing is left out yet.

        Args:
            what: the lines should be: "positions of this game".
        """
        self._path, self._what = path, what
        self._reasons: list[tuple[int, str]] = []
        self.count = 0

    def add(self, line: int, reason: str) -> None:
        """Leaves out a line, counted from 1."""
        self.count += 1
        self._reasons = sorted([*self._reasons, (line, reason)])[:SHOWN]

    @property
    def sentence(self) -> str:
        """Says how many lines were left out, and why the first ones were."""
        reasons = [f"line {line}: {_short(reason)}" for line, reason in self._reasons]
        more = [f"{self.count - SHOWN} more"] if self.count > SHOWN else []
        lines = "1 line was" if self.count == 1 else f"{self.count} lines were"
        return f"{_short(self._path)}: {lines} left out ({'; '.join(reasons + more)})"

    def conclude(self, read: int) -> None:
        """Tells of what was left out, on standard error, when the file is read.

        Args:
            read: lines that were not left out.

        Raises:
            ValueError: if nothing of the file could be read.
        """
        if not self.count:
            return
        if not read:
            raise ValueError(f"{self.sentence}: none of its lines are {self._what}")
        if is_main():
            were = "1 was" if read == 1 else f"{read} were"
            print(f"warning: {self.sentence}; {were} read", file=sys.stderr)


def cut(text: str) -> str:
    """The beginning of hostile text, in quotes and in ASCII."""
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")


def _short(text: str) -> str:
    text = text if len(text) <= _LONGEST else f"...{text[3 - _LONGEST :]}"
    return text if text.isprintable() else ascii(text)
