"""Intervals as they are printed: never rounded to one of no width."""

MOST_DIGITS = 12


def span(low: float, high: float, digits: int, form: str = "f") -> str:
    """`low to high`, with `digits` and as many more as it takes to tell them apart.

    Args:
        form: "f" where digits are those behind the point, "g" where they are significant ones.
    """
    while f"{low:.{digits}{form}}" == f"{high:.{digits}{form}}" and digits < MOST_DIGITS:
        digits += 1
    return f"{low:.{digits}{form}} to {high:.{digits}{form}}"
