"""A verifier with a network of its own: a transformer that reads the prompt and the solution.

Its value head speaks behind every token; what it says where a step ends is that step's score. An
outcome reward model and a process reward model are the same network: they have learnt from other
labels (`rlsearch.objectives.verifier_targets`), and another aggregation fits them.

What it reads is counted, padding apart: the prompt once a problem, and every token once as it is
written, in a tree too. Who asks for the score of a solution that it has not followed pays for the
prompt and all of the solution.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from rlsearch.decoding import steps
from rlsearch.decoding.steps import Prefix, StepFormat, read_step, step_ends
from rlsearch.networks.language_model import LanguageModel, Params


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["network", "label", "aggregation"],
)
@dataclasses.dataclass(frozen=True)
class NetworkVerifier:
    """Any policy with the same words may be judged by it."""

    params: Params  # of the network
    network: LanguageModel
    label: str
    aggregation: str = "last"
    oracle = False

    def step_scores(
        self, prompts: jax.Array, solutions: jax.Array, form: StepFormat
    ) -> tuple[jax.Array, jax.Array]:
        """The scores of all steps of `solutions [B, T]` in one call.

        Returns:
            `[B, S]` float32, 1 where there is no step, and `[B]` int32, the tokens that this reads.
        """
        ends, present = step_ends(solutions, form)
        hidden = self._read(prompts, solutions)[:, prompts.shape[1] :]
        scores = self.network.value(
            self.params, jnp.take_along_axis(hidden, ends[:, :, None], axis=1)
        )
        return jnp.where(present, scores, 1.0), self._count(
            prompts, (solutions != form.pad).sum(axis=1, dtype=jnp.int32)
        )

    def score(
        self,
        model: LanguageModel,
        params: Params,
        prompts: jax.Array,
        prefix: Prefix,
        form: StepFormat,
    ) -> jax.Array:
        """Reads the prompt and all of the solution."""
        del model, params, form
        hidden = self._read(prompts, prefix.tokens)
        last = (prompts.shape[1] + prefix.length - 1)[:, None, None]
        newest = jnp.take_along_axis(hidden, last, axis=1)[:, 0]
        return self.network.value(self.params, newest)

    def tokens(self, prompts: jax.Array, prefix: Prefix) -> jax.Array:
        return self._count(prompts, prefix.length)

    def start(self, prompts: jax.Array, form: StepFormat) -> tuple[Any, Any, jax.Array]:
        """Reads the prompts: what it keeps are keys and values."""
        cache, memory = steps.start(self.network, self.params, prompts, form)
        return cache, memory, self.tokens(prompts, memory)

    def read(
        self,
        model: LanguageModel,
        params: Params,
        prompts: jax.Array,
        prefix: Prefix,
        form: StepFormat,
        shared: Any,
        memory: Any,
    ) -> tuple[jax.Array, Any, jax.Array]:
        """Reads the newest step alone."""
        del model, params, prompts
        after = read_step(self.network, self.params, shared, memory, prefix, form)
        score = self.network.value(self.params, after.hidden)
        return score, after, after.length - memory.length

    def _read(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """`[B, P + T, D]`; padding stands behind a solution, where nothing looks at it."""
        tokens = jnp.concatenate([prompts, solutions], axis=1)
        return self.network.read(self.params, tokens)[0]

    def _count(self, prompts: jax.Array, length: jax.Array) -> jax.Array:
        return prompts.shape[1] + length
