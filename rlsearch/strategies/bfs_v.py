"""Breadth-first search by value, BFS-V (Feng et al. 2023): the k best nodes of each depth go on.

Unlike the beam search of Snell et al. 2024, a node's children are distinct, all of a depth are
compared with one another, and a node that is finished leaves the beam, which is then one narrower.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.drawing import Drawing
from rlsearch.strategies.expansion import Expansion, Search, answer, begin_search, expand
from rlsearch.strategies.writing import Judged, begin
from rlsearch.verifiers.base import Judge


@dataclasses.dataclass(frozen=True)
class BfsV(Drawing):
    """A beam as wide as the budget pays for with K children a node.

    A budget that pays for no step beside one solution is spent on that, greedily.
    """

    children: int = 6  # K, distinct steps behind a node

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        # K steps behind the root, and then k K at each depth.
        steps, deeper = budget.tokens // policy.format.max_step_length, policy.format.num_steps - 1
        beam = (steps - self.children) // max(1, deeper * self.children)
        return {"k": max(1, beam), **dataclasses.asdict(self)}

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        settings = self.settings(writer.policy, budget)
        assert settings is not None
        (batch, _), format, places = prompts.shape, writer.format, settings["k"]
        problems, first, read = begin(writer, judge, prompts)
        expansion = Expansion(
            problems.repeated(places),
            self.children,
            budget.tokens,
            self.sampling,
        )
        beam = jax.tree.map(lambda x: jnp.repeat(x, places, axis=0), first)
        # Only the first place holds a root.
        going_on = jnp.zeros((batch, places), bool).at[:, 0].set(True)

        def deepen(carry: tuple[Judged, jax.Array, jax.Array, Search], depth: jax.Array):
            beam, going_on, width, search = carry
            depth_keys = folded(keys, depth)
            children, search = expand(expansion, beam, going_on, search, depth_keys)
            values, best = jax.lax.top_k(children.values, places)
            rows = jnp.arange(batch)[:, None]
            beam = jax.tree.map(
                lambda x: x[rows, best].reshape(batch * places, *x.shape[2:]), children.judged
            )
            kept = (values >= 0) & (jnp.arange(places) < width[:, None])
            ended = kept & children.ended[rows, best]
            tokens = beam.line.tokens.reshape(batch, places, -1)
            carry = beam, kept & ~ended, width - ended.sum(axis=1), search
            log_probs = beam.log_prob.reshape(batch, places)
            return carry, (tokens, jnp.where(ended, values, -1.0), log_probs)

        carry = beam, going_on, jnp.full((batch,), places), begin_search(first, read)
        (*_, search), found = jax.lax.scan(deepen, carry, jnp.arange(format.num_steps))
        tokens, *rest = (jnp.swapaxes(x, 0, 1) for x in found)
        tokens = tokens.reshape(batch, -1, format.max_length)
        scores, log_probs = (x.reshape(batch, -1) for x in rest)
        sure = self.confidence(scores, log_probs)
        return answer(problems, search, tokens, scores, sure)
