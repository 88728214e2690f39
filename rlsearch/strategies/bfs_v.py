"""Breadth-first search by value, BFS-V (Feng et al. 2023): the k best nodes of each depth go on.

Unlike the beam search of Snell et al. 2024, a node's children are distinct, all of a depth are
compared with one another, and a node that is finished leaves the beam, which is then one narrower.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.networks.language_model import Params
from rlsearch.strategies.base import Budget, Policy, Solutions
from rlsearch.strategies.expansion import Search, answer, begin_search, expand
from rlsearch.strategies.writing import Draft, begin
from rlsearch.verifiers.base import Verifier


@dataclasses.dataclass(frozen=True)
class BfsV:
    """As wide a beam as the budget pays for with K children a node.

    A budget that pays for no step beside one solution is spent on that, greedily.
    """

    children: int = 6  # K, distinct steps behind a node
    temperature: float = 1.0
    min_p: float = 0.05  # tokens less likely than this times the likeliest are not drawn

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        # K steps behind the root, and then k K at each depth.
        steps, deeper = budget.tokens // policy.form.max_step_length, policy.form.num_steps - 1
        beam = (steps - self.children) // max(1, deeper * self.children)
        return {"k": max(1, beam), **dataclasses.asdict(self)}

    def solve(
        self,
        policy: Policy,
        params: Params,
        verifier: Verifier,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        settings = self.settings(policy, budget)
        assert settings is not None
        (batch, _), form, places = prompts.shape, policy.form, settings["k"]
        problems, first, read = begin(policy, params, verifier, prompts)
        of_places = jax.tree.map(lambda x: jnp.repeat(x, places, axis=0), problems)
        beam = jax.tree.map(lambda x: jnp.repeat(x, places, axis=0), first)
        # Only the first place holds a root.
        going_on = jnp.zeros((batch, places), bool).at[:, 0].set(True)

        def deepen(carry: tuple[Draft, jax.Array, jax.Array, Search], depth: jax.Array):
            beam, going_on, width, search = carry
            children, search = expand(
                policy,
                params,
                verifier,
                of_places,
                beam,
                going_on,
                search,
                jax.vmap(jax.random.fold_in, (0, None))(keys, depth),
                self.children,
                budget.tokens,
                self.temperature,
                self.min_p,
            )
            values, best = jax.lax.top_k(children.values, places)
            rows = jnp.arange(batch)[:, None]
            beam = jax.tree.map(
                lambda x: x[rows, best].reshape(batch * places, *x.shape[2:]), children.draft
            )
            kept = (values >= 0) & (jnp.arange(places) < width[:, None])
            ended = kept & children.ended[rows, best]
            tokens = beam.prefix.tokens.reshape(batch, places, -1)
            carry = beam, kept & ~ended, width - ended.sum(axis=1), search
            return carry, (tokens, jnp.where(ended, values, -1.0))

        carry = beam, going_on, jnp.full((batch,), places), begin_search(first, read)
        (*_, search), found = jax.lax.scan(deepen, carry, jnp.arange(form.num_steps))
        tokens, scores = (jnp.swapaxes(x, 0, 1) for x in found)
        tokens, scores = tokens.reshape(batch, -1, form.max_length), scores.reshape(batch, -1)
        return answer(policy, params, verifier, problems, search, tokens, scores, keys)
