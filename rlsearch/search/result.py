"""What a search returns."""

from typing import NamedTuple

import jax

from rlsearch.search.mcts import Tree


class SearchResult(NamedTuple):
    """The outcome of one search from each of B roots over A actions (K candidates, L tokens)."""

    action: jax.Array  # [B] int32, the action to take
    improved_policy: jax.Array  # [B, A] float32, sums to 1 over the actions that were visited
    action_value: jax.Array  # [B] float32, Q of `action`
    root_value: jax.Array  # [B] float32, mean value of the root's simulations
    visit_counts: jax.Array  # [B, A] int32
    action_values: jax.Array  # [B, A] float32, Q of each visited action, 0 elsewhere
    tree: Tree  # every node; drop it before it leaves jit, or pay for it


class StepSearchResult(NamedTuple):
    """Of a search over steps or tokens: as `SearchResult`, and what the actions say."""

    action: jax.Array
    improved_policy: jax.Array
    action_value: jax.Array
    root_value: jax.Array
    visit_counts: jax.Array
    action_values: jax.Array
    tree: Tree
    usable: jax.Array  # [B, A] bool, actions that were visited, and each step once
    value_scale: jax.Array  # [B] float32, what a difference of 1 in Q adds to a log-weight
    solved: jax.Array  # [B, A] bool, a finished solution of value 1 was found below the action
    finished: jax.Array  # [B, A] bool, the action ends the solution
    candidates: jax.Array  # [B, A, L] int32, the tokens of each visited action
    candidate_lengths: jax.Array  # [B, A] int32
    tokens: jax.Array  # [B] int32, tokens that the policy evaluated in this search
