"""Rules by which a simulation goes down a tree of steps: to a child, or to a step not drawn yet.

Children are drawn from the policy without replacement. For the rules that weigh them by themselves
sampling has replaced the prior (Hubert et al. 2021, Sampled MuZero): each of a node's K places,
taken or vacant, has the prior 1 / K. Closed children are never chosen by any rule.

    draw     draws a child with log pi(c) + log(what is left below c)
             + beta (Q(c) - V(node)) n(c) / (n(c) + 1), and a new step with log(1 - sum of pi):
             with beta = 0 whole solutions are drawn from the policy without replacement
             (UniqueRandomizer, Shi et al. 2020)
    puct     Q(c) + puct_constant / K sqrt(N) / (1 + n(c)), Silver et al. 2017
    gumbel   at the root sequential halving, by the share of what may be spent that is spent; below
             it the child whose visits lag most behind the improved policy (Danihelka et al. 2022)

Letters: B roots, K children of a node.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.keys import folded
from rlsearch.search.growing import Counts, open_shares, unseen
from rlsearch.search.mcts import FORBIDDEN, TINY

NEVER = 2 * FORBIDDEN  # a score; a sum of others never comes near


class Family(NamedTuple):
    """Nodes `[B]` and their children, as a rule sees them."""

    value: jax.Array  # [B] float32, mean of the node
    raw_value: jax.Array  # [B] float32, the critic's of the node itself
    values: jax.Array  # [B, K] float32, means of the children
    visits: jax.Array  # [B, K] int32, 0 for those that are missing
    left: jax.Array  # [B, K] float32, probability of each child that is left; 0: closed or missing
    new: jax.Array  # [B] float32, that of steps not drawn yet; 0: none can be drawn
    number: jax.Array  # [B] int32, children there are

    def scores(self, of_children: jax.Array, of_new: jax.Array) -> jax.Array:
        """`[B, K + 1]` the scores of what may be chosen, NEVER for all else."""
        children = jnp.where(self.left > 0, of_children, NEVER)
        return jnp.concatenate([children, jnp.where(self.new > 0, of_new, NEVER)[:, None]], axis=1)


Choice = Callable[[Family, jax.Array], jax.Array]  # at a depth `[]`: places `[B]`, K: a new step


def family_of(counts: Counts, node: jax.Array) -> Family:
    """The family of `node [B]`."""
    rows = jnp.arange(node.shape[0])
    children, values = counts.children[rows, node], counts.values
    there = children >= 0
    return Family(
        value=values[rows, node],
        raw_value=counts.raw_values[rows, node],
        values=jnp.where(there, values[rows[:, None], children], 0.0),
        visits=jnp.where(there, counts.visits[rows[:, None], children], 0),
        left=open_shares(counts, node),
        new=unseen(counts, node),
        number=counts.number[rows, node],
    )


def descend(counts: Counts, choose: Choice) -> jax.Array:
    """`[B]` int32, the nodes at which a new step is drawn; without meaning below a closed root."""
    rows, width = jnp.arange(counts.parents.shape[0]), counts.children.shape[2]

    def down(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        node, moving, depth = carry
        family = family_of(counts, node)
        chosen = choose(family, depth)
        moving &= (chosen < width) & (family.left > 0).any(axis=1)
        below = counts.children[rows, node, jnp.minimum(chosen, width - 1)]
        return jnp.where(moving, below, node), moving, depth + 1

    start = jnp.zeros_like(rows), jnp.ones(rows.shape, bool), jnp.int32(0)
    return jax.lax.while_loop(lambda carry: carry[1].any(), down, start)[0]


def choice(
    config: SearchConfig, root_keys: jax.Array, keys: jax.Array, progress: jax.Array
) -> Choice:
    """The rule of `config` for the next simulation of B trees.

    Args:
        root_keys: `[B]` typed keys of the noise at a root, the same for all its simulations.
        keys: `[B]` typed keys of this simulation, consumed.
        progress: `[B]` float32 in [0, 1], the share of what may be spent that is spent.
    """
    places = (config.num_candidates,)
    if config.policy == "draw":
        return lambda family, depth: draw(family, folded(keys, depth), config.tilt)
    if config.policy == "puct":
        concentration, mixed = config.dirichlet_alpha, config.dirichlet_fraction
        gamma = jax.vmap(lambda key: jax.random.gamma(key, concentration, places))(root_keys)
        noise = gamma / jnp.maximum(gamma.sum(axis=1, keepdims=True), TINY)
        prior = jnp.full(noise.shape, 1.0 / config.num_candidates)
        at_root = (1 - mixed) * prior + mixed * noise
        return lambda family, depth: puct(
            family, jnp.where(depth == 0, at_root, prior), config.puct_constant
        )
    gumbel = jax.vmap(lambda key: jax.random.gumbel(key, places))(root_keys)
    noise = config.gumbel_scale * gumbel
    return lambda family, depth: jnp.where(
        depth == 0,
        halved(family, noise, progress, config),
        lagging(family, config),
    )


def draw(family: Family, keys: jax.Array, tilt: float) -> jax.Array:
    """Draws in proportion to what is left, tilted by what the tree knows; the keys `[B]` are
    consumed."""
    better = tilt * (family.values - family.value[:, None])
    better *= family.visits / (family.visits + 1.0)
    logits = jnp.log(jnp.maximum(family.left, TINY)) + jnp.where(family.visits > 0, better, 0.0)
    logits = family.scores(logits, jnp.log(jnp.maximum(family.new, TINY)))
    return jax.vmap(jax.random.categorical)(keys, logits)


def puct(family: Family, prior: jax.Array, constant: float) -> jax.Array:
    """PUCT, with the node's mean for what was not visited; the prior is `[B, K]`."""
    exploring = constant * jnp.sqrt(family.visits.sum(axis=1, keepdims=True)) * prior
    of_children = family.values + exploring / (1.0 + family.visits)
    of_new = family.value + _first_vacant(exploring, family)
    return jnp.argmax(family.scores(of_children, of_new), axis=1)


def halved(
    family: Family, noise: jax.Array, progress: jax.Array, config: SearchConfig
) -> jax.Array:
    """Sequential halving: of K candidates each is looked at once, and then, phase by phase, of the
    better half that is open the one visited least; ties by the noise `[B, K]` plus sigma(Q)."""
    width = config.num_candidates
    phases = max(width - 1, 1).bit_length()
    phase = jnp.minimum((progress * phases).astype(jnp.int32), phases - 1)
    most = jnp.maximum(width >> phase, 2)[:, None]
    of_children = jnp.where(family.left > 0, noise + completed(family, config)[0], NEVER)
    rank = (of_children[:, None, :] > of_children[:, :, None]).sum(axis=2)
    considered = (family.left > 0) & (rank < most)
    visits = jnp.where(considered, family.visits, jnp.iinfo(jnp.int32).max)
    least = considered & (visits == visits.min(axis=1, keepdims=True))
    chosen = jnp.argmax(jnp.where(least, of_children, NEVER), axis=1)
    return jnp.where(family.new > 0, width, chosen)


def lagging(family: Family, config: SearchConfig) -> jax.Array:
    """The child or the vacant place whose visits lag most behind the improved policy."""
    sigma, sigma_new = completed(family, config)
    scores, width = family.scores(sigma, sigma_new), config.num_candidates
    weights = jnp.exp(scores - scores.max(axis=1, keepdims=True))
    vacant = jnp.maximum(width - family.number, 1)[:, None]
    total = weights[:, :-1].sum(axis=1, keepdims=True) + vacant * weights[:, -1:]
    visits = jnp.pad(family.visits, ((0, 0), (0, 1)))
    behind = weights / total - visits / (1.0 + visits.sum(axis=1, keepdims=True))
    return jnp.argmax(jnp.where(scores > FORBIDDEN, behind, NEVER), axis=1)


def completed(family: Family, config: SearchConfig) -> tuple[jax.Array, jax.Array]:
    """`sigma(Q)` of the children `[B, K]`, and `[B]` of a new one, which has the mixed value of
    Danihelka et al. 2022, eq. 33, under equal priors."""
    visits = family.visits
    seen, total = visits > 0, visits.sum(axis=1)
    mean = (family.values * seen).sum(axis=1) / jnp.maximum(seen.sum(axis=1), 1)
    mixed = (family.raw_value + total * mean) / (1.0 + total)
    scale = config.value_scale * (config.max_visit_init + visits.max(axis=1))
    return scale[:, None] * jnp.where(seen, family.values, mixed[:, None]), scale * mixed


def _first_vacant(each: jax.Array, family: Family) -> jax.Array:
    """`[B]` what `each [B, K]` is at the place that the next child takes."""
    place = jnp.minimum(family.number, each.shape[1] - 1)
    return jnp.take_along_axis(each, place[:, None], axis=1)[:, 0]
