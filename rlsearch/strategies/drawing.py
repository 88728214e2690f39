"""The draws of a strategy and its choice among finished solutions, which are the same for all
strategies of a comparison."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rlsearch.config import check
from rlsearch.decoding.sampling import Sampling

MIN_P = 0.05  # of every strategy
SMALLEST = 1e-7  # of a score and of what it lacks to 1: both need a logarithm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """The fields of a strategy that draws."""

    temperature: float = 1.0
    min_p: float = MIN_P  # tokens less likely than this times the likeliest are not drawn
    policy_weight: float = 0.0  # a, see `confidence`

    def __post_init__(self):
        check(0 <= self.min_p < 1, self, "min_p", "in [0, 1)")
        check(self.policy_weight >= 0, self, "policy_weight", "at least 0")

    @property
    def sampling(self) -> Sampling:
        """The distribution that steps are drawn from."""
        return Sampling(self.temperature, self.min_p)

    def confidence(self, scores: jax.Array, log_probs: jax.Array) -> jax.Array:
        """Weighs scores with this strategy's weight; see the function."""
        return confidence(scores, log_probs, self.policy_weight)


def confidence(scores: jax.Array, log_probs: jax.Array, policy_weight: float) -> jax.Array:
    """Weighs scores by the policy's own probability of the solutions.

        sigmoid(logit(score) + a log pi(solution))

    Of very many solutions the one with the highest score is mostly one that the verifier is wrong
    about, and that is mostly an unlikely one. With a = 0 this is the score.

    Args:
        scores: `[...]` float32 in [0, 1]; one below 0 is none, and stays as it is.
        log_probs: `[...]` float32, of whole solutions, at temperature 1.
        policy_weight: a.
    """
    if policy_weight == 0.0:
        return scores
    inside = jnp.clip(scores, SMALLEST, 1.0 - SMALLEST)
    logits = jnp.log(inside) - jnp.log1p(-inside) + policy_weight * log_probs
    return jnp.where(scores < 0, scores, jax.nn.sigmoid(logits))


def drawing_of(strategy: Any) -> dict[str, float]:
    """The fields of `Drawing` that a strategy has, itself or in its `search`."""
    found: dict[str, float] = {}
    for field in dataclasses.fields(Drawing):
        for of in (getattr(strategy, "search", None), strategy):
            if hasattr(of, field.name):
                found[field.name] = getattr(of, field.name)
    return found


def drawing_as(strategy: Any, fields: dict[str, float]) -> Any:
    """`strategy` with these fields of `Drawing`, those that it has."""
    own = {name: value for name, value in fields.items() if hasattr(strategy, name)}
    search: Any = getattr(strategy, "search", None)
    inner = {name: value for name, value in fields.items() if name not in own}
    inner = {name: value for name, value in inner.items() if hasattr(search, name)}
    if inner:
        own["search"] = dataclasses.replace(search, **inner)
    return dataclasses.replace(strategy, **own) if own else strategy
