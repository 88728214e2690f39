"""A GGUF file, in which llama.cpp and others keep a model: what it says, and where its tensors lie.

The file is mapped into memory, and every length in it is held against what is left of it, and
against a bound: a file from elsewhere can neither be read past its end nor fill the memory.

    magic, version, number of tensors, number of fields
    fields: name, kind, value         tensors: name, axes (the last first), kind, place
"""

import math
import struct
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from rlsearch.files import size_of
from rlsearch.text import shortened

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_FIELDS, MAX_TENSORS, MAX_ITEMS = 2**12, 2**16, 2**22
MAX_STRING = 2**20  # bytes
MAX_AXES = 4
NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9


class Block(NamedTuple):
    """A tensor as it lies in the file."""

    shape: tuple[int, ...]  # the last axis lies next to itself
    kind: int  # of its numbers, as GGML counts them
    place: int  # its first byte, behind the beginning of all tensors


class GGUFFile(NamedTuple):
    """The contents of a file."""

    path: str
    fields: dict[str, Any]
    tensors: dict[str, Block]
    start: int  # of all tensors, its first byte
    size: int  # bytes

    def raw(self, name: str, length: int) -> np.ndarray:
        """The bytes of a tensor, where they lie.

        Raises:
            ValueError: the file ends before.
        """
        first = self.start + self.tensors[name].place
        if first + length > self.size:
            raise ValueError(f"{self.path} is truncated: it ends within {shortened(name)}")
        return np.memmap(self.path, np.uint8, "r", first, (length,))


class Cursor:
    """A place in a file, which moves on by what is read."""

    def __init__(self, path: str, data: np.ndarray):
        self.path, self.data, self.place = path, data, 0

    def damaged(self, what: str) -> ValueError:
        """The error that the file is not well formed."""
        return ValueError(f"{self.path} is damaged: {what}")

    def take(self, length: int) -> bytes:
        """The next bytes."""
        end = self.place + length
        if end > len(self.data):
            raise ValueError(f"{self.path} is truncated: it ends within its header")
        found, self.place = self.data[self.place : end].tobytes(), end
        return found

    def number(self, code: str) -> Any:
        """The next number, of a kind that `struct` has a code for."""
        return struct.unpack("<" + code, self.take(struct.calcsize(code)))[0]

    def count(self, what: str, most: int) -> int:
        """The next number, which says how many of something follow."""
        found = self.number("Q")
        if found > most:
            raise self.damaged(f"it says that there are {found} {what}, and {most} is the most")
        return found

    def string(self) -> str:
        """The next text."""
        try:
            return self.take(self.count("bytes in a text", MAX_STRING)).decode()
        except UnicodeDecodeError as error:
            raise self.damaged("a text in its header is no UTF-8") from error

    def value(self, kind: int) -> Any:
        """The next value of a kind."""
        if kind == STRING:
            return self.string()
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind != ARRAY:
            raise self.damaged(f"a field is of kind {kind}, which is not known")
        each = self.number("I")
        if each == ARRAY:
            raise self.damaged("a field is a list of lists")
        length = self.count("items in a list", MAX_ITEMS)
        if each not in NUMBERS:
            return [self.value(each) for _ in range(length)]
        size = struct.calcsize(NUMBERS[each])
        return list(struct.unpack(f"<{length}{NUMBERS[each]}", self.take(size * length)))


def read_gguf(path: epath.PathLike) -> GGUFFile:
    """Reads the header of a file, and no tensor.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no GGUF file, damaged or truncated.
    """
    name, size = str(path), size_of(path, "a model")
    if size < len(MAGIC) or (data := np.memmap(name, np.uint8, "r"))[:4].tobytes() != MAGIC:
        raise ValueError(f"{name} is no GGUF file: it does not begin with {MAGIC.decode()}")
    cursor = Cursor(name, data)
    cursor.take(len(MAGIC))
    version = cursor.number("I")
    if version not in VERSIONS:
        raise ValueError(f"{name} is of version {version}: it must be 2 or 3")
    num_tensors = cursor.count("tensors", MAX_TENSORS)
    num_fields = cursor.count("fields", MAX_FIELDS)
    fields = {}
    for _ in range(num_fields):
        key = cursor.string()
        fields[key] = cursor.value(cursor.number("I"))
    tensors = {}
    for _ in range(num_tensors):
        key, axes = cursor.string(), cursor.number("I")
        if not 1 <= axes <= MAX_AXES:
            raise cursor.damaged(f"{shortened(key)} has {axes} axes")
        shape = tuple(cursor.number("Q") for _ in range(axes))[::-1]
        if not 0 < math.prod(shape) <= 8 * size:  # no number takes less than a bit
            raise cursor.damaged(f"{shortened(key)} is empty, or larger than the file")
        tensors[key] = Block(shape, cursor.number("I"), cursor.number("Q"))
    align = fields.get("general.alignment", 32)
    if type(align) is not int or not 1 <= align <= 2**16:
        raise cursor.damaged(f"general.alignment is {shortened(align)}")
    start = -(-cursor.place // align) * align
    return GGUFFile(name, fields, tensors, start, size)
