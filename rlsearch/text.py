"""Text that others chose (names, paths, problems, what a model wrote), made fit to be shown.

There is one function for each place where it may be: terminals, pictures, pages, paths and errors.
A character that is not printable, such as ESC, NUL, half a surrogate pair or the override of the
writing direction, is shown as Python writes it: `\\x1b`.

Like `paths.py`, this file imports nothing of the package, so that every room may import it.
"""

import hashlib
import html
import re
from typing import Any

MAX_GIVEN = 200  # characters that an error repeats of what it was given
MAX_SENTENCE = 2_000  # characters of an error
MAX_LABEL = 80  # characters of a name in a picture
MAX_PATH_PART = 120  # characters of a folder's name; file systems take 255 bytes

_UNSAFE_IN_PATHS = re.compile(r"[^A-Za-z0-9.=_+-]")
_LONG_WORD = re.compile(rf"\S{{{MAX_GIVEN + 3},}}")
_QUOTED = re.compile(r"(?<!\w)'([^']*)'(?!\w)|(?<!\w)\"([^\"]*)\"(?!\w)")


def shortened(value: Any, limit: int = MAX_GIVEN) -> str:
    """Returns `value` as an error quotes it: its `repr`, of at most about `limit` characters.

    It stands where `{value!r}` would, so that an error stays one sentence whatever it was given:
    the middle of what is too long is left out.
    """
    try:
        shown = repr(_cut(value, limit) if isinstance(value, str) else value)
    except Exception:  # nested too deep, a number of too many digits, a class that cannot say
        shown = f"a value of type {type(value).__name__}"
    return _cut(for_terminal(shown), limit + len("''"))


def for_terminal(text: Any) -> str:
    """Returns `text` as one line that moves no cursor, changes no colour and hides nothing."""
    return "".join(char if char.isprintable() else _escaped(char) for char in str(text))


def lines_for_terminal(text: str) -> str:
    """Returns `text` as `for_terminal` does, but with its lines kept."""
    return "\n".join(for_terminal(line) for line in text.split("\n"))


def for_picture(text: Any, limit: int = MAX_LABEL) -> str:
    """Returns `text` as a label of matplotlib: one short line, in which nothing is mathematics."""
    label = _cut(for_terminal(text), limit).replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label  # a legend leaves out what begins so


def for_page(text: Any) -> str:
    """Returns `text` as text of an HTML page, or a quoted attribute; its lines and tabs stay."""
    kept = (char if char.isprintable() or char in "\n\t" else _escaped(char) for char in str(text))
    return html.escape("".join(kept))


def for_path(text: str, limit: int = MAX_PATH_PART) -> str:
    """Returns `text` as the name of one file or folder, which no shell or library expands.

    What is too long ends in a hash of the whole, so that two such names stay two.
    """
    name = _UNSAFE_IN_PATHS.sub("-", text)
    if len(name) > limit:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        name = f"{name[: limit - 13]}-{digest}"
    return f"-{name}" if name.strip(".") == "" else name


def sentence(text: str) -> str:
    """Returns an error as it is printed: one line, with no word or quotation beyond `MAX_GIVEN`.

    Errors shorten what they quote themselves; this holds it of those that libraries raise.
    """
    line = _QUOTED.sub(lambda found: _cut(found[0], MAX_GIVEN + len("''")), for_terminal(text))
    line = _LONG_WORD.sub(lambda found: _cut(found[0], MAX_GIVEN), line)
    return _cut(line, MAX_SENTENCE)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


def _cut(text: str, limit: int) -> str:
    """`text` without its middle where it is longer than `limit`: its end may say what is valid."""
    if len(text) <= limit:
        return text
    end = (limit - 3) // 3
    return f"{text[: limit - 3 - end]}...{text[-end:]}"
