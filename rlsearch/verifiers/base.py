"""What a verifier is: partly written solutions in, how likely each is to come out right.

A verifier is a pytree, so that parameters of its own pass through `jit` as arguments. One of your
own is a class with the same members, in a file of your own, named `module:Class` on the command
line, and registered with `jax.tree_util.register_dataclass` or, where it has no parameters,
`register_static`. `Free` has all of them but `score` for one that needs no network of its own,
and `Stateless` those of one that need not remember what it has read.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from rlsearch.classes import Kind, find_class
from rlsearch.decoding.steps import Prefix, StepFormat
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.tasks.base import Task


class Verifier(Protocol):
    """Scores the newest step of solutions. Knows nothing of strategies.

    Whoever has a solution before it asks for its `score`; whoever writes one calls `start` and then
    `read` behind each step.
    """

    @property
    def label(self) -> str:
        """What it is called beside a result."""
        ...

    @property
    def oracle(self) -> bool:
        """Whether it knows the ground truth."""
        ...

    @property
    def aggregation(self) -> str:
        """How one score is made of those of the steps; see `aggregate`."""
        ...

    def score(
        self,
        model: LanguageModel,
        params: Params,
        prompts: jax.Array,
        prefix: Prefix,
        form: StepFormat,
    ) -> jax.Array:
        """`[B]` float32 in [0, 1], of the step that each of B solutions was last given.

        Args:
            model, params: the policy's, for a verifier that is a head on its trunk.
            prompts: `[B, P]` int32.
            prefix: the solutions, with what the policy's trunk made of them.
        """
        ...

    def tokens(self, prompts: jax.Array, prefix: Prefix) -> jax.Array:
        """`[B]` int32, what `score` reads with a network that is not the policy's."""
        ...

    def start(self, prompts: jax.Array, form: StepFormat) -> tuple[Any, Any, jax.Array]:
        """What it keeps of `prompts [B, P]` and of their empty solutions, to read along.

        Returns:
            shared: what all solutions of a problem have in common, a pytree of `[B, ...]` arrays.
            memory: what belongs to one solution, likewise.
            `[B]` int32, the tokens that this reads.
        """
        ...

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
        """As `score`, of solutions that it has read up to their newest step: a token is read once.

        Returns:
            `[B]` scores, the memory behind that step, and `[B]` int32, the tokens that this reads.
        """
        ...


class Stateless:
    """For verifiers that keep nothing: reading along is scoring what is there, again and again."""

    def start(self, prompts: jax.Array, form: StepFormat) -> tuple[Any, Any, jax.Array]:
        """Nothing."""
        del form
        return (), (), jnp.zeros(prompts.shape[:1], jnp.int32)

    def read(
        self: Any,
        model: LanguageModel,
        params: Params,
        prompts: jax.Array,
        prefix: Prefix,
        form: StepFormat,
        shared: Any,
        memory: Any,
    ) -> tuple[jax.Array, Any, jax.Array]:
        """What `score` and `tokens` say."""
        del shared
        score = self.score(model, params, prompts, prefix, form)
        return score, memory, self.tokens(prompts, prefix)


class Free(Stateless):
    """For verifiers that read nothing with a network of their own."""

    def tokens(self, prompts: jax.Array, prefix: Prefix) -> jax.Array:
        """`[B]` int32 zeros."""
        del prefix
        return jnp.zeros(prompts.shape[:1], jnp.int32)


NAMES = ("value_head", "constant", "checker")


def load_verifier(name: str, task: Task) -> Verifier:
    """The verifier `name`: a file of `rlsearch.verifiers`, or a user's `module:Class`.

    Its class has a class method `of(task)`, which makes it.

    Raises:
        ValueError: if there is none, or it is no pytree.
    """
    class_name = "".join(part.capitalize() for part in name.split("_"))
    named = f"rlsearch.verifiers.{name}:{class_name}" if name in NAMES else name
    kind = Kind(Verifier, maker="of")
    verifier = find_class("verifier", named, kind, NAMES).of(task)
    if jax.tree_util.all_leaves([verifier]):
        raise ValueError(
            f"verifier is {name!r}: its class is no pytree: register it, without parameters by "
            "jax.tree_util.register_static"
        )
    return verifier
