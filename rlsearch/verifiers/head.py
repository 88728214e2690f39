"""A verifier that is a head on a policy's trunk, which learnt nothing for it: it reads no token."""

import dataclasses
import functools

import jax

from rlsearch.decoding.draft import Draft
from rlsearch.decoding.writer import Writer
from rlsearch.networks.head import Head
from rlsearch.networks.language_model import Params
from rlsearch.verifiers.base import Free


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["head", "label", "policy", "aggregation"],
)
@dataclasses.dataclass(frozen=True)
class HeadVerifier(Free):
    """Judges what one policy writes, and makes no sense on the trunk of another."""

    params: Params  # of the head
    head: Head
    label: str
    policy: str  # the stage that ended with that policy
    aggregation: str = "last"
    oracle = False

    def score(self, writer: Writer, draft: Draft) -> jax.Array:
        del writer
        return jax.nn.sigmoid(self.head.logit(self.params, draft.line.hidden))
