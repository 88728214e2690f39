"""Choosing among the finished solutions of a problem.

Letters: B problems, n candidates of each.
"""

import jax
import jax.numpy as jnp


def vote(answers: jax.Array, weights: jax.Array) -> jax.Array:
    """`[B, n]` float32, the total weight of all candidates that give the same answer.

    With weights of 1 this is the majority vote (Wang et al. 2022), with scores the weighted
    best-of-N (Li et al. 2022): argmax_a sum_i 1[a_i = a] w_i.

    Args:
        answers: `[B, n]` int32; one below 0 is none, gives no vote and gets none: its total is -1.
        weights: `[B, n]` float32, not negative.
    """
    same = answers[:, :, None] == answers[:, None, :]
    totals = jnp.where(same, weights[:, None, :], 0.0).sum(axis=2)
    return jnp.where(answers >= 0, totals, -1.0)


def first_best(*ranks: jax.Array) -> jax.Array:
    """`[B]` int32, the candidate that is best by the first rank, ties by the next, then by place.

    Args:
        ranks: each `[B, n]` float32.
    """
    best = jnp.ones(ranks[0].shape, bool)
    for rank in ranks:
        rank = jnp.where(best, rank, -jnp.inf)
        best &= rank == rank.max(axis=1, keepdims=True)
    return jnp.argmax(best, axis=1)


def best_by_weight(answers: jax.Array, scores: jax.Array) -> jax.Array:
    """`[B]` int32, of the candidates that give the answer with the highest sum of scores the one
    with the highest score.

    Args:
        answers, scores: `[B, n]`; a score below 0 is none.
    """
    return first_best(vote(answers, jnp.maximum(scores, 0.0)), scores)
