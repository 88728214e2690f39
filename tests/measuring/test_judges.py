"""Which verifiers cannot judge a run."""

import types

import pytest

from rlsearch.data.words import WordTokenizer
from rlsearch.measuring.judges import check_judges, check_same_language, with_aggregation
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.head import HeadVerifier


def task(words, **changes):
    shape = {"prompt_length": 3, "solution_length": 6, "num_steps": 3, "max_step_length": 2}
    tokenizer = WordTokenizer(words)
    words = {"tokenizer": tokenizer, "vocab_size": tokenizer.vocab_size}
    return types.SimpleNamespace(**shape | words | changes)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (task(["a", "c"]), "verifier is 'x': it has another tokenizer, of 4 words"),
        (task(["a", "b", "c"]), "another tokenizer, of 5 words where this run has 4"),
        (task(["a", "b"], num_steps=4), "its num_steps is 4, and that of this run is 3"),
    ],
)
def test_a_verifier_of_another_tokenizer_or_other_steps_is_refused(other, said):
    ours = task(["a", "b"])
    check_same_language("x", ours, task(["a", "b"]))
    with pytest.raises(ValueError, match=said):
        check_same_language("x", other, ours)


def test_a_head_judges_the_policy_of_its_trunk_alone():
    head = HeadVerifier({}, None, "prm", "base")  # pyright: ignore
    check_judges(head, ["base"])
    with pytest.raises(ValueError, match="policy 'base', not of 'control': give --policies base"):
        check_judges(head, ["base", "control"])


def test_only_what_has_an_aggregation_is_given_another():
    assert with_aggregation(Constant(), "min").aggregation == "min"
    with pytest.raises(ValueError, match="verifier 'mine' has its own"):
        with_aggregation(types.SimpleNamespace(label="mine", aggregation="last"), "min")
