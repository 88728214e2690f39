"""Two checkers of one language: whatever the text, they say the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlsearch.tasks.number_steps import MAX_TEXT_LENGTH, NumberSteps

LANGUAGE = NumberSteps(4)
WIDTH = LANGUAGE.solution_length + 4  # room for what should have been padding
NUM_TRACES = 256
PROMPT = "24 from 4 9 10 13\n"
SOLUTION = "13 - 9 -> 4 4 10\n10 - 4 -> 6 4\n6 * 4 -> 24\n"


@functools.cache
def _check_tokens():
    return jax.jit(LANGUAGE.check_tokens)


def _agreed(prompt: str, solution: str) -> bool:
    """What both checkers say, each alone."""
    host = LANGUAGE.check(prompt, solution)
    assert LANGUAGE.check(prompt, solution.encode("utf-8", "surrogatepass")) == host
    question, tokens = LANGUAGE.tokenizer.encode(prompt), LANGUAGE.tokenizer.encode(solution)
    if len(question) != LANGUAGE.prompt_length or len(tokens) > WIDTH:
        assert not host
        return False
    padded = tokens + [LANGUAGE.tokenizer.pad] * (WIDTH - len(tokens))
    device = bool(_check_tokens()(jnp.array([question]), jnp.array([padded]))[0])
    # Spaces are no tokens, so that only the host can see that there are too many.
    assert device == LANGUAGE.check(prompt, LANGUAGE.tokenizer.decode(tokens))
    assert host == (device and len(solution) <= MAX_TEXT_LENGTH)
    return host


@functools.cache
def _traces() -> tuple[list[tuple[str, str]], np.ndarray]:
    """Problems with their random solutions, those that fit, and how often they do."""

    def draw(key):
        numbers_key, trace_key = jax.random.split(key)
        numbers = jnp.sort(jax.random.randint(numbers_key, (4,), 1, 14, jnp.int32))
        steps, goal, fits = LANGUAGE.random_trace(trace_key, numbers, 0.5, 100)
        return LANGUAGE.prompt_tokens(numbers, jnp.clip(goal, 1, 100)), steps, fits

    prompts, steps, fits = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), NUM_TRACES))
    decode = LANGUAGE.tokenizer.decode
    rows = np.asarray(steps).reshape(NUM_TRACES, -1)
    problems = [
        (decode(prompt.tolist()), decode(row.tolist()))
        for prompt, row, fit in zip(np.asarray(prompts), rows, np.asarray(fits), strict=True)
        if fit
    ]
    return problems, np.asarray(fits)


def test_lengths_and_grammar():
    tokens = LANGUAGE.tokenizer.encode(SOLUTION)
    assert len(tokens) == LANGUAGE.solution_length == len(LANGUAGE.grammar)
    assert LANGUAGE.grammar[np.arange(len(tokens)), tokens].all()
    assert LANGUAGE.grammar.shape == (LANGUAGE.solution_length, LANGUAGE.vocab_size)
    assert not LANGUAGE.grammar[:, : LANGUAGE.tokenizer.unknown + 1].any()


def test_prompt_tokens_are_the_prompt():
    numbers = jnp.array([[4, 9, 10, 13], [1, 1, 2, 2]])
    tokens = LANGUAGE.prompt_tokens(numbers, jnp.array([24, 100])).tolist()
    assert LANGUAGE.tokenizer.decode(tokens[0]) == PROMPT == LANGUAGE.prompt((13, 4, 10, 9), 24)
    assert LANGUAGE.tokenizer.encode(LANGUAGE.prompt((2, 1, 2, 1), 100)) == tokens[1]


@pytest.mark.parametrize(
    ("prompt", "solution"),
    [
        (PROMPT, SOLUTION),
        ("24 from 3 3 8 8\n", "8 / 3 -> 8/3 3 8\n3 - 8/3 -> 1/3 8\n8 / 1/3 -> 24\n"),
        (PROMPT, "13 - 9 -> 10 4 4\n10 - 4 -> 4 6\n4 * 6 -> 24\n"),
        (PROMPT, "  13 -  9 -> 4 4 10 \n10 - 4 -> 6 4\n6 * 4 -> 24\n "),
        (PROMPT + " ", SOLUTION),
    ],
)
def test_right(prompt, solution):
    assert _agreed(prompt, solution)


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "\n",
        "24\n",
        SOLUTION[:-1],
        SOLUTION + SOLUTION,
        SOLUTION + "\n",
        "\n" + SOLUTION,
        SOLUTION + "24",
        SOLUTION.replace("\n", "\r\n"),
        SOLUTION.replace(" ", "\t"),
        SOLUTION.replace("6 * 4 -> 24", "6 * 4 -> 25"),
        SOLUTION.replace("13 - 9", "9 - 13"),
        SOLUTION.replace("6 * 4", "6 * 6"),
        SOLUTION.replace("24", "２４"),
        SOLUTION.replace("24", "024"),
        SOLUTION.replace("24", "48/2"),
        SOLUTION.replace("24", "24\0"),
        SOLUTION.replace("24", "<pad>"),
        SOLUTION.replace("24", "<pad> 24"),
        SOLUTION.replace("24", "9" * 4000),
        SOLUTION.replace("13", "__import__('os')"),
        "24 * 1 -> 24 9 10\n24 * 9 -> 24 10\n24 * 10 -> 24\n",
        "4 - 4 -> 0 9 10\n9 / 0 -> 24 10\n24 + 0 -> 24\n",
        SOLUTION.replace(" ", " " * 400),
        "\ud800" + SOLUTION,
    ],
)
def test_wrong(solution):
    assert not _agreed(PROMPT, solution)


def test_another_goal_or_other_numbers_are_wrong():
    for prompt in ("25 from 4 9 10 13\n", "24 from 4 9 10 12\n", "24 from 4 9 10\n", "24\n", ""):
        assert not _agreed(prompt, SOLUTION)
    for prompt in ("\n", "24 -> 4 9 10 13\n", "<unk> from 4 9 10 13\n", "24 from 4 9 10 x\n"):
        assert not _agreed(prompt, SOLUTION)


def test_division_by_zero_is_wrong():
    solution = "4 - 4 -> 0 24 1\n24 / 0 -> 24 1\n24 * 1 -> 24\n"
    assert not _agreed("24 from 1 4 4 24\n", solution)


def test_bytes_are_read_as_utf8_or_wrong():
    assert LANGUAGE.check(PROMPT, SOLUTION.encode())
    for content in (b"\xff" + SOLUTION.encode(), SOLUTION.encode("utf-16"), b"\x00" * 100_000):
        assert not LANGUAGE.check(PROMPT, content)
    assert not LANGUAGE.check(PROMPT, "€".encode() * MAX_TEXT_LENGTH)


def test_random_traces_are_right():
    problems, fits = _traces()
    assert fits.mean() > 0.5
    for prompt, solution in problems:
        assert _agreed(prompt, solution), (prompt, solution)


def test_trace_without_any_next_step_does_not_fit():
    # No operation on these two fractions has a result that the language can say.
    words = LANGUAGE.words
    pair = NumberSteps(2)
    dead = np.argwhere((words.results == -1).all(axis=0) & (words.results == -1).all(axis=0).T)
    assert len(dead) > 0
    numbers = jnp.array(dead[0], jnp.int32)
    _, _, fits = pair.random_trace(jax.random.key(0), numbers, 0.5, 100)
    assert not bool(fits)


VOCABULARY = ["\n", "from", "->", "+", "-", "*", "/", "0", "1", "24", "8/3", "199", "<unk>", "x"]


@st.composite
def _mutated(draw) -> tuple[str, str, bool]:
    """A problem, a trace of it with up to three changes, and whether only the order changed."""
    problems, _ = _traces()
    prompt, solution = draw(st.sampled_from(problems))
    lines = [line.split(" ") for line in solution.split("\n")[:-1]]
    harmless = True
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["left", "operands", "swap", "drop", "replace", "repeat"]))
        line = draw(st.sampled_from([line for line in lines if len(line) > 4] or [["24"] * 5]))
        place = draw(st.integers(0, len(line) - 1))
        if kind == "left":
            line[4:] = draw(st.permutations(line[4:]))
        elif kind == "operands":
            harmless &= line[1] in "+*" and line[3] == "->"
            line[0], line[2] = line[2], line[0]
        else:
            harmless = False
            if kind == "swap":
                other = draw(st.integers(0, len(line) - 1))
                line[place], line[other] = line[other], line[place]
            elif kind == "drop":
                del line[place]
            elif kind == "replace":
                line[place] = draw(st.sampled_from(VOCABULARY))
            else:
                line.insert(place, line[place])
    return prompt, "\n".join(" ".join(line) for line in lines) + "\n", harmless


@settings(max_examples=500, deadline=None, database=None)
@given(_mutated())
def test_checkers_agree_on_mutated_traces(problem):
    prompt, solution, harmless = problem
    assert _agreed(prompt, solution) or not harmless


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.one_of(
        st.text(st.characters(), max_size=80),
        st.lists(st.sampled_from([*VOCABULARY, " ", "\0", "6", "13"]), max_size=30).map(" ".join),
        st.integers(0, 10**30).map(lambda number: SOLUTION.replace("24", str(number))),
        st.tuples(st.integers(0, len(SOLUTION)), st.text(st.characters(), max_size=5)).map(
            lambda cut: SOLUTION[: cut[0]] + cut[1] + SOLUTION[cut[0] :]
        ),
        st.integers(0, 3).map(lambda power: SOLUTION + " " * 10 ** (power + 1)),
    )
)
def test_checkers_agree_on_hostile_text(solution):
    _agreed(PROMPT, solution)


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.lists(st.sampled_from(["24", "from", "4", "9", "10", "13", "->", "\n", "8/3", "x"])),
    st.data(),
)
def test_checkers_agree_on_any_prompt(words, data):
    _agreed(" ".join(words), SOLUTION)
    question = PROMPT.replace("\n", " \n").split(" ")
    question[data.draw(st.integers(0, 6))] = data.draw(st.sampled_from([*VOCABULARY, "24", "4"]))
    _agreed(" ".join(question), SOLUTION)


@settings(max_examples=200, deadline=None, database=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_judged(content):
    assert not LANGUAGE.check(PROMPT, content)
    assert not LANGUAGE.check(PROMPT, SOLUTION.encode()[:-1] + content + b"x")
