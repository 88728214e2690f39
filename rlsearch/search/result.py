"""The results of a search: trees, the candidates of a node, and decisions."""

from typing import NamedTuple

import jax

from rlsearch.decoding.draft import Line
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


class Grown(NamedTuple):
    """Trees over half-written solutions, whose nodes have a `line`."""

    tree: Tree
    tokens: jax.Array  # [B] int32, tokens that the policy evaluated


class Candidates(NamedTuple):
    """A node's actions, as tokens. A candidates, L tokens."""

    tokens: jax.Array  # [B, A, L] int32
    lengths: jax.Array  # [B, A] int32
    prior_log_probs: jax.Array  # [B, A] under the policy at temperature 1
    usable: jax.Array  # [B, A] bool, tried by the search


class Decision(NamedTuple):
    """The decision of a search over steps or tokens at one node of each of B trees."""

    action: jax.Array  # [B] int32, the action to take
    improved_policy: jax.Array  # [B, A] float32, sums to 1 over the usable actions
    action_value: jax.Array  # [B] float32, Q of `action`
    root_value: jax.Array  # [B] float32, mean value of the node's simulations
    visit_counts: jax.Array  # [B, A] int32
    action_values: jax.Array  # [B, A] float32, Q of each usable action, 0 elsewhere
    value_scale: jax.Array  # [B] float32, what a difference of 1 in Q adds to a log-weight
    solved: jax.Array  # [B, A] bool, a finished solution of value 1 was found below the action
    finished: jax.Array  # [B, A] bool, the action ends the solution
    candidates: Candidates
    line: Line  # the solutions with the action; without meaning where no candidate is usable
    node: jax.Array  # [B] int32, their node
    grown: Grown  # every node; drop it before it leaves jit, or pay for it
