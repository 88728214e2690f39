"""Tables of text as programs really write them: one reader for all of them.

Cells may be separated by commas, semicolons, tabs, bars or spaces, in quotes or not, with spaces
around them; the file may begin with a byte order mark, be UTF-16, and end its lines in any way.
Every line is a row of its own, so that one that is wrong harms no other.
"""

import codecs
import csv
import re
from typing import NamedTuple

from rlsearch.data.left_out import LeftOut
from rlsearch.files import read_bytes

SEPARATORS = "\t;,|"  # else spaces
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Row(NamedTuple):
    """The cells of one line."""

    line: int  # from 1
    cells: list[str]


def read_table(path: str, limit: int, what: str, left_out: LeftOut) -> list[Row]:
    """Reads the rows of a table, the header among them; empty lines and `#` comments are none.

    Args:
        limit: bytes that the file may have.
        what: it is, for a sentence about a bad file.
        left_out: is told of lines that cannot be taken apart.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is too large, no regular file, or no text.
    """
    content = read_bytes(path, limit, what)
    try:
        text = content.decode("utf-16" if content.startswith(_WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: byte {error.start} is not of {what}") from error
    lines = [*enumerate(re.split("\r\n|\r|\n", text), start=1)]
    lines = [(number, line) for number, line in lines if _says_something(line)]
    separator = _separator(lines[0][1]) if lines else ","
    if lines and lines[0][1].lower().startswith("sep="):  # so a spreadsheet names it
        lines = lines[1:]
    rows = []
    for number, line in lines:
        try:
            rows.append(Row(number, _cells(line, separator)))
        except csv.Error as error:
            left_out.add(number, f"it cannot be taken apart ({error})")
    return rows


def plain(name: str) -> str:
    """The name of a column without capitals, spaces and signs: `Score 1` is `score_1`."""
    return re.sub("[^a-z0-9]", "", name.lower())


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _separator(header: str) -> str:
    """The commonest of `SEPARATORS` in the first line; a space where there is none."""
    most = max(SEPARATORS, key=header.count)
    return most if most in header else " "


def _cells(line: str, separator: str) -> list[str]:
    line = " ".join(line.split()) if separator == " " else line
    (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    return [cell.strip() for cell in cells]
