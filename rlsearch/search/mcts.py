"""Batched tree search on `mctx.search`, with randomness that belongs to each root.

`mctx.search` runs the simulations; the selection rules are mctx's too. What is added here:

- The noise at the root is drawn from one key a root, so that a root's search is the same however
  the batch is split over devices.
- The loop tells the recurrent function the number of the simulation (`CountedLoop`).

Values have known bounds (probabilities of success in [0, 1], outcomes in [-1, 1]): they are used
as they are, never rescaled by the smallest and largest seen, which would turn noise into certainty.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mctx

from rlsearch.config import SearchConfig

# chex makes mctx's dataclasses at run time, so that no type checker can follow them.
Tree = Any  # a mctx.Tree
tree: Any = mctx.Tree
root_output: Any = mctx.RootFnOutput
recurrent_output: Any = mctx.RecurrentFnOutput
_gumbel_noise: Any = mctx.GumbelMuZeroExtraData
_select_gumbel_root: Any = mctx.gumbel_muzero_root_action_selection
_select_gumbel_interior: Any = mctx.gumbel_muzero_interior_action_selection
_select_puct: Any = mctx.muzero_action_selection

FORBIDDEN = -1e9  # a prior logit; finite, so that no softmax becomes NaN
TINY = 1e-30  # of a probability, which needs a logarithm


class CountedLoop:
    """The number of the simulation, while the body of the search loop is traced."""

    def __init__(self):
        self.simulation: jax.Array | int = 0

    def loop(self, lower: int, upper: int, body: Callable, initial: Any) -> Any:
        """A `fori_loop` for `mctx.search` that tells its number before each turn."""

        def turn(simulation, carry):
            self.simulation = simulation
            return body(simulation, carry)

        return jax.lax.fori_loop(lower, upper, turn, initial)


def run(
    root: Any,
    recurrent_fn: Callable,
    keys: jax.Array,
    config: SearchConfig,
    loop: Callable = jax.lax.fori_loop,
    invalid_actions: jax.Array | None = None,
) -> Tree:
    """Searches from B roots at once and returns the tree.

    Args:
        root: priors `[B, A]` and values `[B]` in float32, and the root nodes.
        recurrent_fn: as mctx defines it; its parameters are empty and its key is not to be used.
            Arrays that it closes over are never copied per node.
        keys: `[B]` typed keys, one a root, consumed.
        invalid_actions: `[B, A]` bool, actions the root may not take.
    """
    if root.prior_logits.dtype != jnp.float32 or root.value.dtype != jnp.float32:
        raise TypeError("the search needs float32 priors and values: bfloat16 loses visits")
    actions = root.prior_logits.shape[1]
    if invalid_actions is None:
        invalid_actions = jnp.zeros(root.prior_logits.shape, bool)
    prior_logits, extra_data = root.prior_logits, None
    if config.policy == "gumbel":
        gumbel = jax.vmap(lambda key: jax.random.gumbel(key, (actions,)))(keys)
        extra_data = _gumbel_noise(root_gumbel=config.gumbel_scale * gumbel)
        select_root, select_interior = _gumbel_selection(config, actions)
    else:
        prior_logits = with_dirichlet_noise(prior_logits, keys, invalid_actions, config)
        select_root, select_interior = _puct_selection(config)
    return mctx.search(
        (),
        jax.random.key(0),  # unused: what is random at a root comes from its own key
        root=root.replace(prior_logits=jnp.where(invalid_actions, FORBIDDEN, prior_logits)),
        recurrent_fn=recurrent_fn,
        root_action_selection_fn=select_root,
        interior_action_selection_fn=select_interior,
        num_simulations=config.num_simulations,
        invalid_actions=invalid_actions.astype(jnp.float32),
        extra_data=extra_data,
        loop_fn=loop,
    )


def _gumbel_selection(config: SearchConfig, actions: int) -> tuple[Callable, Callable]:
    """Sequential halving at the root, the deterministic rule below it (Danihelka et al. 2022)."""
    qtransform = functools.partial(completed_values, config=config)
    select_root = functools.partial(
        _select_gumbel_root,
        num_simulations=config.num_simulations,
        max_num_considered_actions=min(actions, config.num_candidates),
        qtransform=qtransform,
    )
    return select_root, functools.partial(_select_gumbel_interior, qtransform=qtransform)


def _puct_selection(config: SearchConfig) -> tuple[Callable, Callable]:
    """PUCT everywhere (Silver et al. 2017)."""

    # The key breaks ties only; one key for all makes every root's ties fall alike.
    def select_interior(key: jax.Array, tree: Tree, node_index: jax.Array, depth: Any) -> jax.Array:
        del key
        return _select_puct(
            jax.random.key(0),
            tree,
            node_index,
            depth,
            pb_c_init=config.puct_constant,
            qtransform=visited_values,
        )

    return functools.partial(select_interior, depth=0), select_interior


def completed_values(tree: Tree, node_index: jax.Array, config: SearchConfig) -> jax.Array:
    """`sigma(q)` of Gumbel MuZero for one node, the unvisited completed by the mixed value."""
    transform: Any = mctx.qtransform_completed_by_mix_value
    return transform(
        tree,
        node_index,
        value_scale=config.value_scale,
        maxvisit_init=config.max_visit_init,
        rescale_values=False,
    )


def visited_values(tree: Tree, node_index: jax.Array) -> jax.Array:
    """Q for PUCT: the visited children's own, and the node's mean value for the others.

    Where all that is legal turned out worse than the node itself, a forbidden action would look
    best by that mean: it is worth nothing at all.
    """
    values = jnp.where(
        tree.children_visits[node_index] > 0,
        tree.qvalues(node_index),
        tree.node_values[node_index],
    )
    allowed = tree.children_prior_logits[node_index] > FORBIDDEN / 2
    return jnp.where(allowed, values, FORBIDDEN)


def with_dirichlet_noise(
    prior_logits: jax.Array, keys: jax.Array, invalid_actions: jax.Array, config: SearchConfig
) -> jax.Array:
    """Mixes Dirichlet noise over the LEGAL actions into the root's priors (AlphaZero)."""
    if config.dirichlet_fraction == 0.0:
        return prior_logits
    shape, alpha = prior_logits.shape[1:], config.dirichlet_alpha
    gamma = jax.vmap(lambda key: jax.random.gamma(key, alpha, shape))(keys)
    gamma = jnp.where(invalid_actions, 0.0, gamma)
    noise = gamma / jnp.maximum(gamma.sum(axis=1, keepdims=True), 1e-20)
    prior = jax.nn.softmax(jnp.where(invalid_actions, FORBIDDEN, prior_logits))
    mixed = (1 - config.dirichlet_fraction) * prior + config.dirichlet_fraction * noise
    return jnp.log(jnp.maximum(mixed, 1e-20))


def improved_policy(
    tree: Tree, prior_logits: jax.Array, invalid_actions: jax.Array, config: SearchConfig
) -> jax.Array:
    """`[B, A]` what the search makes of the root's priors.

    Gumbel: softmax(log pi + sigma(completed Q)), Danihelka et al. 2022, eq. 11. PUCT: the share of
    visits.
    """
    if config.policy == "puct":
        visits = tree.children_visits[:, 0].astype(jnp.float32)
        return visits / jnp.maximum(visits.sum(axis=1, keepdims=True), 1.0)
    sigma = jax.vmap(lambda tree: completed_values(tree, tree.ROOT_INDEX, config))(tree)
    return jax.nn.softmax(jnp.where(invalid_actions, FORBIDDEN, prior_logits + sigma))


def best_below(tree: Tree, value: jax.Array, depth: int) -> jax.Array:
    """For each node the largest `value [B, N + 1]` among itself and all nodes below it.

    Args:
        depth: the depth of the tree at most; static.
    """
    rows = jnp.arange(value.shape[0])[:, None]
    for _ in range(depth):
        # The root has no parent, nor has a place without a node.
        below = jnp.where(tree.parents >= 0, value, -jnp.inf)
        value = value.at[rows, jnp.maximum(tree.parents, 0)].max(below)
    return value


def children(
    tree: Tree, values: jax.Array, missing: jax.Array | float, node: jax.Array
) -> jax.Array:
    """Reads `values [B, N + 1, ...]` at the children of `node [B]`: `[B, A, ...]`."""
    rows = jnp.arange(node.shape[0])
    index = tree.children_index[rows, node]
    found = values[rows[:, None], jnp.maximum(index, 0)]
    visited = (index >= 0).reshape(*index.shape, *[1] * (found.ndim - 2))
    return jnp.where(visited, found, missing)
