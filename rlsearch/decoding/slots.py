"""Continuous batching: slots that take the next text as soon as theirs is written.

A slot is a row of one batch. All slots draw a token a turn; where one's text has ended, it takes
the next request, whose prompt has been read before, once for all of a problem's samples. So a turn
costs the same whatever the lengths of texts are, and none is padded to the longest.

Keys and values lie in a ring: turn t writes place t mod C of every row, one update of a slice in
the same memory. A row sees the newest places, as many as its own text has tokens; what is behind
those belongs to a text that is done. A text depends on its own prompt and key alone, not on its
slot, nor on what is written beside it.

Letters: N prompts of P tokens, R requests of up to T tokens, B slots, C places of the ring,
G key-value heads, D features, V vocabulary.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.sampling import Sampling
from rlsearch.networks.attention import KeyValues, Ring
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.parallel.mesh import rows_alone
from rlsearch.pretrained.worded import left_padded
from rlsearch.tasks.base import NO_TOKEN

AT_ONCE = 8  # prompts that are read in one pass
SMALLEST = 64  # tokens of a compiled program's prompt or text; larger ones are powers of two


class Prompts(NamedTuple):
    """Prompts that have been read, padded on the left."""

    lengths: jax.Array  # [N] int32, tokens without padding
    hidden: jax.Array  # [N, D] at the last token
    cache: KeyValues  # leaves [N, G, P, C]


class Requests(NamedTuple):
    """Texts to be written."""

    prompts: jax.Array  # [R] int32, which one each continues
    keys: jax.Array  # [R] typed keys
    limits: jax.Array  # [R] int32, tokens of the longest text, from 1 to T
    ends: jax.Array  # [V] bool, tokens that end a text


class Texts(NamedTuple):
    """The written part of requests."""

    tokens: jax.Array  # [R, T] int32, the end token included
    log_probs: jax.Array  # [R, T] float32, the policy's own at temperature 1
    lengths: jax.Array  # [R] int32


class Slots(NamedTuple):
    """The state between two turns."""

    ring: KeyValues  # leaves [B, G, C, c], of the size of a head
    hidden: jax.Array  # [B, D] at the last token read
    seen: jax.Array  # [B] int32, places of the ring that belong to the slot's text
    position: jax.Array  # [B] int32, of the next token
    request: jax.Array  # [B] int32; R: none
    taken: jax.Array  # [] int32, requests that were begun
    turn: jax.Array  # [] int32
    texts: Texts


def bucket(length: int) -> int:
    """The length of the compiled program that a length runs in."""
    return max(SMALLEST, 1 << (length - 1).bit_length())


def padded(prompts: Sequence[Sequence[int]], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Prompts as `tokens [N, P]` int32 of P = `width`, and `real [N, P]` bool, padded on the
    left."""
    table = left_padded(prompts, width)
    real = table != NO_TOKEN
    return np.where(real, table, 0), real


@functools.partial(jax.jit, static_argnames="model")
def read_prompts(
    model: LanguageModel, params: Params, tokens: jax.Array, real: jax.Array
) -> Prompts:
    """Reads prompts `tokens [N, P]`, a few at a time.

    Args:
        real: `[N, P]` bool, False for padding, which must be on the left.
    """

    def read(each: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, KeyValues]:
        hidden, cache = model.read(params, each[0][None], each[1][None])
        cache = cache._replace(real=None)
        return hidden[0, -1], jax.tree.map(lambda x: x[0], cache)

    hidden, cache = jax.lax.map(read, (tokens, real), batch_size=AT_ONCE)
    return Prompts(real.sum(axis=1, dtype=jnp.int32), hidden, cache)


@functools.partial(jax.jit, static_argnames=("slots", "longest"))
def empty_slots(prompts: Prompts, requests: Requests, slots: int, longest: int) -> Slots:
    """B = `slots` slots without a text, for requests of up to T = `longest` tokens."""
    number, places = requests.keys.shape[0], prompts.cache.length + longest
    ring = jax.tree.map(
        lambda x: jnp.zeros((slots, x.shape[1], places, x.shape[3]), x.dtype), prompts.cache
    )
    none = jnp.zeros((slots,), jnp.int32)
    texts = Texts(
        jnp.zeros((number, longest), jnp.int32),
        jnp.zeros((number, longest), jnp.float32),
        jnp.zeros((number,), jnp.int32),
    )
    hidden = jnp.zeros((slots, prompts.hidden.shape[1]), prompts.hidden.dtype)
    zero = jnp.int32(0)
    return Slots(ring, hidden, none, none, none + number, zero, zero, texts)


def refilled(slots: Slots, prompts: Prompts, requests: Requests) -> Slots:
    """Gives the next requests to the slots that have none, one after another."""
    number = requests.keys.shape[0]

    def can(slots: Slots) -> jax.Array:
        return (slots.request == number).any() & (slots.taken < number)

    def fill(slots: Slots) -> Slots:
        slot = jnp.argmax(slots.request == number)
        prompt = requests.prompts[slots.taken]
        places = slots.ring.length
        # The newest token of a prompt lies where the turn before this one wrote.
        age = (slots.turn - 1 - jnp.arange(places)) % places
        place = jnp.maximum(prompts.cache.length - 1 - age, 0)

        def put(ring: jax.Array, read: jax.Array) -> jax.Array:
            row = jax.lax.dynamic_index_in_dim(read, prompt, keepdims=False)
            return jax.lax.dynamic_update_index_in_dim(ring, row[:, place], slot, 0)

        return slots._replace(
            ring=jax.tree.map(put, slots.ring, prompts.cache),
            hidden=slots.hidden.at[slot].set(prompts.hidden[prompt]),
            seen=slots.seen.at[slot].set(prompts.lengths[prompt]),
            position=slots.position.at[slot].set(prompts.cache.length),
            request=slots.request.at[slot].set(slots.taken),
            taken=slots.taken + 1,
        )

    return jax.lax.while_loop(can, fill, slots)


def take_turn(
    model: LanguageModel, params: Params, slots: Slots, requests: Requests, sampling: Sampling
) -> Slots:
    """Draws a token in every slot, and reads it."""
    number, longest = slots.texts.tokens.shape
    own = jnp.minimum(slots.request, number - 1)
    texts, at = slots.texts, slots.texts.lengths[own]
    prior = jax.nn.log_softmax(rows_alone(model.policy_logits(params, slots.hidden)))
    keys = jax.vmap(jax.random.fold_in)(requests.keys[own], at)
    uniform = jax.vmap(jax.random.uniform)(keys)
    token = sampling.draw(prior, uniform)
    log_prob = jnp.take_along_axis(prior, token[:, None], axis=1)[:, 0]
    # A slot without a request writes behind all texts: nowhere.
    texts = Texts(
        tokens=texts.tokens.at[slots.request, at].set(token, mode="drop"),
        log_probs=texts.log_probs.at[slots.request, at].set(log_prob, mode="drop"),
        lengths=texts.lengths.at[slots.request].add(1, mode="drop"),
    )
    done = requests.ends[token] | (at + 1 >= jnp.minimum(requests.limits[own], longest))

    places = slots.ring.length
    place = slots.turn % places
    age = (place - jnp.arange(places)) % places
    hidden, ring = model.extend(
        params,
        token[:, None],
        slots.position[:, None],
        (age <= slots.seen[:, None])[:, None],
        Ring(slots.ring, place),
    )
    return slots._replace(
        ring=ring,
        hidden=hidden[:, 0],
        seen=jnp.minimum(slots.seen + 1, places - 1),
        position=slots.position + 1,
        request=jnp.where(done, number, slots.request),
        turn=slots.turn + 1,
        texts=texts,
    )


@functools.partial(
    jax.jit, static_argnames=("model", "sampling", "turns"), donate_argnames=("slots",)
)
def advance(
    model: LanguageModel,
    params: Params,
    slots: Slots,
    prompts: Prompts,
    requests: Requests,
    sampling: Sampling = Sampling(),
    turns: int = 2**30,
) -> Slots:
    """Writes on until every request is done, or for so many turns; the slots are donated."""
    number, until = requests.keys.shape[0], slots.turn + turns

    def going_on(slots: Slots) -> jax.Array:
        work = (slots.request < number).any() | (slots.taken < number)
        return work & (slots.turn < until)

    def turn(slots: Slots) -> Slots:
        slots = refilled(slots, prompts, requests)
        return take_turn(model, params, slots, requests, sampling)

    return jax.lax.while_loop(going_on, turn, slots)
