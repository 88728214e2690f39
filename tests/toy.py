"""A language small enough to be enumerated: three steps, each one letter and a newline."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import TransformerConfig
from rlsearch.decoding.policy import Policy, SolutionFormat
from rlsearch.decoding.writer import Writer
from rlsearch.networks.language_model import LanguageModel, Params

PAD, NEWLINE, A, B, C = range(5)
LETTERS = (A, B, C)
NUM_STEPS = 3
WORDS = tuple(itertools.product(LETTERS, repeat=NUM_STEPS))


def toy_format() -> SolutionFormat:
    letter = np.isin(np.arange(5), LETTERS)
    newline = np.arange(5) == NEWLINE
    return SolutionFormat(
        num_steps=NUM_STEPS,
        max_step_length=2,
        max_length=2 * NUM_STEPS,
        step_ends=(NEWLINE,),
        pad=PAD,
        grammar=np.array([letter, newline] * NUM_STEPS),
    )


def ending_format() -> SolutionFormat:
    """Up to two steps of a letter A or B and a newline, and a last one, which is C alone."""
    letter, last = np.isin(np.arange(5), LETTERS), np.arange(5) == C
    newline = np.arange(5) == NEWLINE
    return dataclasses.replace(
        toy_format(),
        solution_ends=(C,),
        grammar=np.array([letter, newline, letter, newline, last, last]),
    )


@functools.cache  # a policy is hashed by identity: another one compiles all programs again
def toy_policy() -> Policy:
    return Policy(toy_model()[0], toy_format(), ToyTask().answers)


@functools.cache
def ending_policy() -> Policy:
    """The same network; an answer is the first letter."""
    return Policy(toy_model()[0], ending_format(), lambda prompts, tokens: tokens[:, 0] - A)


@functools.cache
def toy_writer(scale: float = 0.15) -> Writer:
    """The toy policy with weights that are `perturbed` so much."""
    return Writer(toy_policy(), perturbed(toy_model()[1], scale))


@functools.cache
def ending_writer() -> Writer:
    return dataclasses.replace(toy_writer(), policy=ending_policy())


@functools.cache
def toy_model() -> tuple[LanguageModel, dict]:
    config = TransformerConfig(
        num_layers=2, embed_dim=16, num_heads=2, num_kv_heads=1, head_dim=8, mlp_dim=32, value_dim=8
    )
    model = LanguageModel(config, vocab_size=5)
    return model, model.init(jax.random.key(0))


def wide_model(**fields) -> tuple[LanguageModel, dict]:
    """A model whose heads and hidden features can be split over 1, 2 or 4 devices."""
    shape = dict(num_layers=2, embed_dim=16, num_heads=4, num_kv_heads=4, head_dim=4, mlp_dim=32)
    model = LanguageModel(TransformerConfig(**shape | {"value_dim": 8} | fields), vocab_size=5)
    return model, model.init(jax.random.key(0))


def perturbed(params: Params, scale: float = 0.3, seed: int = 1) -> Params:
    """`params` with noise: a fresh value head says 0.5 of everything, a perturbed one does not."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + jnp.float32(scale * random.standard_normal(x.shape)), params)


def solution(letters) -> list[int]:
    return list(itertools.chain.from_iterable((letter, NEWLINE) for letter in letters))


def can_be_right(prompt, letters) -> bool:
    """Whether a word that begins with `letters` can solve `prompt`."""
    first, last = prompt[:2]
    return letters[:1] in ([], [first]) and (len(letters) < 3 or letters[2] == last)


def judge_for(*right: tuple[int, ...]):
    """A checker that is true for the given words alone."""
    table = jnp.array([solution(word) for word in right], jnp.int32)

    def judge(prompts: jax.Array, tokens: jax.Array) -> jax.Array:
        del prompts
        return (tokens[:, None] == table).all(axis=2).any(axis=1)

    return judge


@dataclasses.dataclass(frozen=True)
class ToyTask:
    """Asks for a word that begins with one letter and ends with another: 3 of 27 words are right.

    A prompt is the two letters and a newline. Of what `rlsearch.tasks.base.Task` asks for it has
    all that runs on the device; the nine problems are `PROBLEMS`, of which the last is held out.
    """

    PROBLEMS = np.array([[*pair, NEWLINE] for pair in itertools.product(LETTERS, repeat=2)])

    vocab_size = 5
    pad = PAD
    end_of_step = NEWLINE
    end_of_solution = -1
    prompt_length = 3
    num_steps = NUM_STEPS
    max_step_length = 2
    solution_length = 2 * NUM_STEPS
    grammar = toy_format().grammar
    consequences = np.tile([False, True], (NUM_STEPS, 1))  # a newline follows any letter

    def held_out_prompts(self) -> np.ndarray:
        return self.PROBLEMS[-1:].astype(np.int32)

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        wanted = jnp.array(self.grammar)[jnp.arange(6), solutions].all(axis=1)
        ends = (solutions[:, 0] == prompts[:, 0]) & (solutions[:, 4] == prompts[:, 1])
        return wanted & ends

    def answers(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        del prompts
        return jnp.where(solutions[:, 5] == NEWLINE, solutions[:, 4] - A, -1)

    def draw_task_problem(self, key: jax.Array) -> jax.Array:
        training = jnp.array(self.PROBLEMS[:-1], jnp.int32)
        return training[jax.random.randint(key, (), 0, len(training))]

    def draw_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        word_key, other_key = jax.random.split(key)
        word = jax.random.randint(word_key, (NUM_STEPS,), A, C + 1)
        other = jax.random.randint(other_key, (), A, C + 1)
        prompt = jnp.stack([word[0], word[2], jnp.int32(NEWLINE)])
        other_prompt = prompt.at[1].set(other)
        steps = jnp.stack([word, jnp.full(NUM_STEPS, NEWLINE)], axis=1)
        return prompt, other_prompt, steps, (prompt != self.held_out_prompts()[0]).any()


@dataclasses.dataclass(frozen=True)
class ImpossibleToyTask(ToyTask):
    """No word is right."""

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        return jnp.zeros(prompts.shape[0], bool)


@dataclasses.dataclass(frozen=True)
class InvertedToyTask(ToyTask):
    """What was right is wrong, and the other way round."""

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        return ~super().check_tokens(prompts, solutions)
