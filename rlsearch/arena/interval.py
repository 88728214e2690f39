"""Intervals as they are printed: never rounded to one of no width."""

MOST_DIGITS = 12


def span(low: float, high: float, digits: int, form: str = "f") -> str:
    """`low to high`, with `digits` and as many more as it takes to tell them apart.

    Args:
        form: "f" where digits are those behind the point, "g" where they are significant ones.
    """
    ends = [_text(end, digits, form) for end in (low, high)]
    if ends[0] == ends[1] and digits < MOST_DIGITS:
        return span(low, high, digits + 1, form)
    return " to ".join(ends)


def _text(number: float, digits: int, form: str) -> str:
    text = f"{number:.{digits}{form}}"
    return text if float(text) else text.removeprefix("-")
