"""Log-probabilities of tokens over a large vocabulary, without all logits at once."""

import jax
import jax.numpy as jnp

from rlsearch.networks.language_model import LanguageModel, Params

MOST_LOGITS = 2**21  # of one row at a time


def token_log_probs(
    model: LanguageModel, params: Params, hidden: jax.Array, tokens: jax.Array
) -> jax.Array:
    """Log-probabilities `[B, T]` float32 of `tokens [B, T]` behind hidden states `[B, T, D]`.

    Where B rows have more than `MOST_LOGITS` each, a few tokens of every row are taken at a time,
    and their logits are made again for the gradient. Rows stay whole, as they lie on devices.
    """

    def of_some(hidden: jax.Array, tokens: jax.Array) -> jax.Array:
        logits = model.policy_logits(params, hidden)
        picked = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
        return picked - jax.nn.logsumexp(logits, axis=-1)

    (batch, length), at_once = tokens.shape, max(1, MOST_LOGITS // model.vocab_size)
    if length <= at_once:
        return of_some(hidden, tokens)
    parts = -(-length // at_once)
    beyond = parts * at_once - length
    hidden = jnp.pad(hidden, ((0, 0), (0, beyond), (0, 0)))
    tokens = jnp.pad(tokens, ((0, 0), (0, beyond)))
    hidden = hidden.reshape(batch, parts, at_once, -1).swapaxes(0, 1)
    tokens = tokens.reshape(batch, parts, at_once).swapaxes(0, 1)
    found = jax.lax.map(lambda each: jax.checkpoint(of_some)(*each), (hidden, tokens))
    return found.swapaxes(0, 1).reshape(batch, -1)[:, :length]
