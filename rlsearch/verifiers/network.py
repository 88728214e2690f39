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

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Draft
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.split import step_ends
from rlsearch.decoding.writer import Writer
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.tasks.base import NO_TOKEN
from rlsearch.verifiers.base import Memory


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["network", "label", "aggregation"],
)
@dataclasses.dataclass(frozen=True)
class NetworkVerifier:
    """Judges any policy that writes the same words."""

    params: Params  # of the network
    network: LanguageModel
    label: str
    aggregation: str = "last"
    oracle = False

    def step_scores(
        self, prompts: jax.Array, solutions: jax.Array, format: SolutionFormat
    ) -> tuple[jax.Array, jax.Array]:
        """Scores all steps of `solutions [B, T]` in one call.

        Returns:
            `[B, S]` float32, 1 where there is no step, and `[B]` int32, the tokens that this reads.
        """
        ends, present = step_ends(solutions, format)
        hidden = self._read(prompts, solutions, format)[:, prompts.shape[1] :]
        scores = self.network.value(
            self.params, jnp.take_along_axis(hidden, ends[:, :, None], axis=1)
        )
        length = (solutions != format.pad).sum(axis=1, dtype=jnp.int32)
        return jnp.where(present, scores, 1.0), prompt_tokens(prompts) + length

    def score(self, writer: Writer, draft: Draft) -> jax.Array:
        """Reads the prompt and all of the solution."""
        prompts, line = draft.prompt.tokens, draft.line
        hidden = self._read(prompts, line.tokens, writer.format)
        last = (prompts.shape[1] + line.length - 1)[:, None, None]
        newest = jnp.take_along_axis(hidden, last, axis=1)[:, 0]
        return self.network.value(self.params, newest)

    def tokens(self, draft: Draft) -> jax.Array:
        """Counts the prompt and all of the solution."""
        return prompt_tokens(draft.prompt.tokens) + draft.line.length

    def start(self, writer: Writer, draft: Draft) -> tuple[Memory, jax.Array]:
        """Reads the prompts: its memory is a draft of its own, keys and values."""
        read = self._reader(writer).start(draft.prompt.tokens)
        return Memory(*read), self.tokens(draft)

    def read(
        self, writer: Writer, draft: Draft, memory: Memory
    ) -> tuple[jax.Array, Memory, jax.Array]:
        """Reads the newest step alone."""
        before = Draft(*memory)
        after = self._reader(writer).follow(before, draft.line)
        score = self.network.value(self.params, after.line.hidden)
        return score, Memory(*after), after.line.length - before.line.length

    def _reader(self, writer: Writer) -> Writer:
        """The verifier's network on the language of a policy."""
        return Writer(dataclasses.replace(writer.policy, model=self.network), self.params)

    def _read(self, prompts: jax.Array, solutions: jax.Array, format: SolutionFormat) -> jax.Array:
        """`[B, P + T, D]`."""
        tokens = jnp.concatenate([prompts, solutions], axis=1)
        return self.network.read(self.params, tokens, format.real(tokens))[0]


def prompt_tokens(prompts: jax.Array) -> jax.Array:
    """`[B]` int32, the tokens of `prompts [B, P]` that are no padding."""
    return (prompts != NO_TOKEN).sum(axis=1, dtype=jnp.int32)
