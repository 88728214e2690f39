"""The answer that a text ends with, and whether two are the same: for problems with one answer.

A text may come from anybody. It is read in time linear in its length, nothing of it is evaluated,
and numbers have a largest length.

An answer is looked for where texts of different habits have it, the last of its kind first:

    \\boxed{...}; behind ####; between <answer> and </answer>; behind "answer is", "answer:" or a
    line's "A:"; else the last number of the text

Two answers are the same if they are the same number, written with separators, units, signs of
currency, a fraction, a percent sign or zeros behind a point; else if they are the same words.
"""

import re
from fractions import Fraction

MAX_TEXT = 2**20  # characters of a text that are read: the last of it
MAX_ANSWER = 200  # characters
MAX_DIGITS = 60  # of a number

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+)?")
_BOXED = re.compile(r"\\f?boxed\s*\{")
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_TAGGED = re.compile(r"<answer>([^<]*)</answer>", re.IGNORECASE)
_SAID = re.compile(
    r"(?:\banswer\b(?:[ \t]+is\b)?[ \t*]*:?|^[ \t]*A:)[ \t*]*([^\n]*)", re.IGNORECASE | re.MULTILINE
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_WHOLE = re.compile(rf"([-+]?)(\d[\d,]{{0,{MAX_DIGITS}}})?(?:\.(\d{{0,{MAX_DIGITS}}}))?")
_SPACES = re.compile(r"\s+")


def answer_in(text: str) -> str:
    """Returns the answer of a text in the form of `normal`; empty where it has none."""
    text = text[-MAX_TEXT:]
    boxed = normal(_boxed(text))
    if boxed:
        return boxed
    for marked in (_HASHES, _TAGGED, _SAID):
        said = _last_thought(_last(marked, text))
        if said:
            return said
    numbers = _NUMBER.findall(text)
    return normal(numbers[-1]) if numbers else ""


def normal(answer: str) -> str:
    """Returns an answer in one form: a number as a whole one or as a fraction, else its words."""
    answer = answer[: 4 * MAX_ANSWER].strip()
    answer = _COMMAND.sub(r"\1", _FRACTION.sub(r"(\1)/(\2)", answer))
    answer = answer.replace("\\$", "").replace("\\%", "%").replace("\\,", "").replace("\\!", "")
    answer = _SPACES.sub(" ", answer.strip().strip("$*`\"' ;:").rstrip(".")).strip()[:MAX_ANSWER]
    value = number_in(answer)
    return answer.lower() if value is None else str(value)


def number_in(answer: str) -> Fraction | None:
    """The number that an answer is, with its unit or its sign left out; None if it is no number.

    "$1,234.50", "3/4", "(1)/(2)", "12 apples" and "50%" (which is 50) are numbers; "3 or 4" and
    "two" are not.
    """
    plain = answer.replace("(", "").replace(")", "").lstrip("$\u20ac\u00a3 ").removesuffix("%")
    found = _NUMBER.match(plain)
    if found is None:
        return None
    rest = plain[found.end() :]
    if any(letter.isdigit() for letter in rest) or re.match(r"\s*[-+*/^=]", rest):
        return None
    above, _, below = found[0].partition("/")
    top, bottom = _plain_number(above.strip()), _plain_number(below.strip() or "1")
    if top is None or not bottom:
        return None
    return top / bottom


def _plain_number(text: str) -> Fraction | None:
    found = _WHOLE.fullmatch(text)
    if found is None:
        return None
    sign, whole, part = found[1], (found[2] or "").replace(",", ""), found[3] or ""
    if not whole + part or len(whole) + len(part) > MAX_DIGITS:
        return None
    value = Fraction(int(whole + part), 10 ** len(part))
    return -value if sign == "-" else value


def _last_thought(said: str) -> str:
    """The answer in what stands behind a mark: its last number, or where it has none its words."""
    whole = normal(said)
    if not whole or number_in(whole) is not None:
        return whole
    numbers = _NUMBER.findall(said[: 4 * MAX_ANSWER])
    return normal(numbers[-1]) if numbers else whole


def _last(pattern: re.Pattern[str], text: str) -> str:
    found = ""
    for match in pattern.finditer(text):
        found = match[1]
    return found


def _boxed(text: str) -> str:
    """What the last \\boxed holds, with braces within braces; empty where none is closed."""
    starts = [match.end() for match in _BOXED.finditer(text)]
    if not starts:
        return ""
    depth = 1
    for place in range(starts[-1], min(len(text), starts[-1] + 4 * MAX_ANSWER)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return text[starts[-1] : place]
    return ""
