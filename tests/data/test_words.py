"""The word tokenizer: text and tokens are two ways to say the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlsearch.data.words import WordTokenizer

WORDS = ("\n", "from", "->", "+", "24", "8/3")
TOKENIZER = WordTokenizer(WORDS)


def test_vocabulary():
    assert TOKENIZER.vocab_size == len(WORDS) + 2
    assert (TOKENIZER.pad, TOKENIZER.unknown) == (0, 1)
    assert TOKENIZER.encode("24 from 8/3\n") == [
        TOKENIZER.index[w] for w in "24 from 8/3 \n".split(" ")
    ]


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.integers(1, TOKENIZER.vocab_size - 1), max_size=30))
def test_tokens_round_trip(tokens):
    text = TOKENIZER.decode(tokens)
    assert TOKENIZER.encode(text) == tokens
    assert " \n" not in text and "\n " not in text


def test_a_word_that_is_given_twice_is_one():
    tokenizer = WordTokenizer(("a", "b", "a", "<pad>", "c", "b"))
    assert tokenizer.vocab_size == 5 and sorted(tokenizer.index.values()) == [0, 1, 2, 3, 4]
    assert tokenizer.decode(tokenizer.encode("a b c")) == "a b c"


@pytest.mark.parametrize("word", ["", " ", "a b", "a ", "a\nb", "\n\n"])
def test_a_word_that_no_text_says_is_named(word):
    with pytest.raises(ValueError, match="a word is not empty, and has no space or newline"):
        WordTokenizer(("a", word))


def test_padding_is_left_out():
    tokens = TOKENIZER.encode("24 -> 24\n")
    assert TOKENIZER.decode([0, *tokens, 0, 0]) == "24 -> 24\n"


def test_spaces_do_not_matter():
    assert TOKENIZER.encode("  24   ->\n\n 24 ") == TOKENIZER.encode("24 ->\n\n24")


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(st.characters(), max_size=60))
def test_any_text_is_read(text):
    tokens = TOKENIZER.encode(text)
    assert all(1 <= token < TOKENIZER.vocab_size for token in tokens)
    assert TOKENIZER.encode(TOKENIZER.decode(tokens)) == tokens


def test_nothing_hostile_reaches_a_word():
    unknown = TOKENIZER.unknown
    hostile = (
        "<pad>",
        "<unk>",
        "24\0",
        "\ufeff24",
        "２４",
        "24\r",
        "\t24",
        "from\u200b",
        "9" * 10_000,
    )
    for text in (*hostile, "24\ud800", "\udfff"):
        assert TOKENIZER.encode(text) == [unknown], text[:20]
