"""One search for every kind of action in language."""

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.draft import Draft
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.search.result import Decision, Grown
from rlsearch.search.steps import search_steps, step_candidates
from rlsearch.search.summary import summarise
from rlsearch.search.tokens import search_tokens, token_candidates
from rlsearch.verifiers.base import Critic, Memory


@jax.named_scope("search")
def search(
    writer: Writer,
    critic: Critic,
    root: Draft,
    memory: Memory,
    keys: jax.Array,
    config: SearchConfig,
) -> Decision:
    """Searches for the next action of B half-written solutions at once.

    Args:
        critic: values solutions so far, and finished ones. In training it knows which of those
            are right.
        root: the solutions so far; all nodes of a tree share their prompt.
        memory: the critic's, of `root` before its newest step.
        keys: `[B]` typed keys, one a root, consumed. A root's search depends on its own key alone.
    """
    grow_keys, action_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    grow = search_steps if config.actions == "steps" else search_tokens
    grown = grow(writer, critic, root, memory, grow_keys, config)
    node = jnp.zeros(keys.shape, jnp.int32)
    return decide(grown, node, action_keys, writer.format, config)


def decide(
    grown: Grown, node: jax.Array, keys: jax.Array, format: SolutionFormat, config: SearchConfig
) -> Decision:
    """Reads off a tree the decision at `node [B]`, which need not be its root; see `summarise`."""
    read = step_candidates if config.actions == "steps" else token_candidates
    return summarise(grown, node, read(grown.tree, node), keys, format, config)


def draw(
    writer: Writer, draft: Draft, keys: jax.Array, config: SearchConfig
) -> tuple[Draft, jax.Array, jax.Array]:
    """Draws one action from the policy, without a search.

    Returns:
        The drafts with it, its tokens `[B, L]`, and how many `[B]` they are.
    """
    if config.actions == "steps":
        after, step = writer.step(draft, keys, Sampling(config.temperature, config.min_p))
        return after, step.tokens, step.length
    after, token = writer.token(draft, keys, Sampling(config.temperature))
    return after, token[:, None], after.line.length - draft.line.length


def num_decisions(format: SolutionFormat, config: SearchConfig) -> int:
    """The number of actions that write a whole solution."""
    return format.num_steps if config.actions == "steps" else format.max_length
