"""A language small enough to be enumerated: three steps, each one letter and a newline."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import TransformerConfig
from rlsearch.decoding.steps import StepFormat
from rlsearch.networks.language_model import LanguageModel

PAD, NEWLINE, A, B, C = range(5)
LETTERS = (A, B, C)
NUM_STEPS = 3


def toy_form() -> StepFormat:
    letter = np.isin(np.arange(5), LETTERS)
    newline = np.arange(5) == NEWLINE
    return StepFormat(
        num_steps=NUM_STEPS,
        max_step_length=2,
        max_length=2 * NUM_STEPS,
        end_of_step=NEWLINE,
        pad=PAD,
        grammar=np.array([letter, newline] * NUM_STEPS),
    )


def toy_model() -> tuple[LanguageModel, dict]:
    config = TransformerConfig(
        num_layers=2, embed_dim=16, num_heads=2, num_kv_heads=1, head_dim=8, mlp_dim=32, value_dim=8
    )
    model = LanguageModel(config, vocab_size=5)
    return model, model.init(jax.random.key(0))


def solution(letters) -> list[int]:
    return list(itertools.chain.from_iterable((letter, NEWLINE) for letter in letters))


def judge_for(*right: tuple[int, ...]):
    """A checker that is true for the given words alone."""
    table = jnp.array([solution(word) for word in right], jnp.int32)

    def judge(prompts: jax.Array, tokens: jax.Array) -> jax.Array:
        del prompts
        return (tokens[:, None] == table).all(axis=2).any(axis=1)

    return judge
