import pytest

from rlsearch.arena.interval import span


@pytest.mark.parametrize("form", ["f", "g"])
@pytest.mark.parametrize("middle", [0.0, 3.0, 99.9, -1234.5])
@pytest.mark.parametrize("width", [100.0, 1.0, 0.3, 1e-3, 1e-6])
def test_no_interval_is_printed_without_a_width(form, middle, width):
    low, _, high = span(middle - width / 2, middle + width / 2, 1, form).partition(" to ")
    assert float(low) < float(high)


def test_digits_are_no_more_than_it_takes():
    assert span(-12.3, 45.6, 0) == "-12 to 46"
    assert span(98.21, 98.24, 1) == "98.21 to 98.24"
    assert span(1000.12, 1000.13, 4, "g") == "1000.12 to 1000.13"
