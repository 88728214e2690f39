"""Text that others chose is shown, and does nothing."""

import html
import string

import pytest

from rlsearch.text import (
    MAX_GIVEN,
    MAX_SENTENCE,
    for_page,
    for_path,
    for_picture,
    for_terminal,
    lines_for_terminal,
    sentence,
    shortened,
)
from tests.names import HOSTILE, NAMES


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_what_is_shown_is_printable(name):
    for show in (for_terminal, for_picture, shortened, sentence, for_path):
        shown = show(name)
        assert shown.isprintable() and shown.encode()
        assert len(shown) <= MAX_GIVEN + 2 or show in (for_terminal, sentence)
    assert lines_for_terminal(f"{name}\nb").splitlines()[-1] == "b"
    page = for_page(name)
    assert all(char.isprintable() or char in "\n\t" for char in page) and "<" not in page
    assert html.unescape(page).encode()


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_name_stays_what_it_is(name):
    assert for_terminal(name) == for_picture(name) == for_page(name) == name
    assert shortened(name) == repr(name) and sentence(name) == name


def test_what_cannot_be_printed_is_shown_as_python_writes_it():
    assert for_terminal("a\x1b[2J\x00\ud800\u202e\n\U000e0001") == (
        r"a\x1b[2J\x00\ud800\u202e\n\U000e0001"
    )
    assert for_page("<b>&\"'\x00\n\t") == r"&lt;b&gt;&amp;&quot;&#x27;\x00" + "\n\t"
    assert lines_for_terminal("a\r\nb\tc") == "a\\r\nb\\tc"


def test_an_error_repeats_the_ends_of_what_it_was_given():
    text = "begin" + "x" * 10**6 + "end"
    shown = shortened(text)
    assert shown.startswith("'begin") and shown.endswith("end'") and "..." in shown
    assert len(shown) == MAX_GIVEN + 2 and len(shortened(text, 20)) == 22
    assert len(shortened("\U000e0001" * 300)) <= MAX_GIVEN + 2
    deep: list = []
    for _ in range(10**5):
        deep = [deep]
    assert shortened(deep) == "a value of type list"
    assert len(shortened(10**5000)) <= MAX_GIVEN + 2
    assert len(shortened(["a" * 50] * 100)) == MAX_GIVEN + 2
    assert shortened(3.5) == "3.5" and shortened(None) == "None" and shortened(()) == "()"


def test_a_sentence_is_bounded_whoever_raised_it():
    long = "y" * 500
    assert sentence(f"there is no {long}: valid are a and b") == (
        f"there is no {'y' * 132}...{'y' * 65}: valid are a and b"
    )
    words = " ".join(string.ascii_lowercase * 20)
    for quote in "'\"":
        said = sentence(f"the config's a is {quote}{words}{quote}: it's to be a letter")
        assert said.endswith("it's to be a letter") and len(said) < MAX_GIVEN + 60
    assert len(sentence("several words " * 500)) == MAX_SENTENCE
    valid = f"there is no field 'z': the config's are {words} and 'none'"
    assert sentence(valid) == valid


def test_a_name_for_a_picture_is_no_mathematics_and_is_in_the_legend():
    assert for_picture("$x$") == r"\$x\$" and for_picture("_a") == " _a"
    assert len(for_picture("a" * 10_000)) == 80


def test_a_name_for_a_path_is_one_part_and_its_own():
    assert for_path("search.n=3_seed=0") == "search.n=3_seed=0"
    assert for_path("../a$HOME[1]") == "..-a-HOME-1-"
    assert for_path("") == "-" and for_path(".") == "-." and for_path("..") == "-.."
    long = [for_path("a" * 500 + end) for end in "xy"]
    assert long[0] != long[1] and all(len(name) == 120 for name in long)
