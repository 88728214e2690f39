"""Drawing one step of a solution at a time, in lockstep over a batch, inside `jit`.

A partly written solution is a `Prefix`. `draw_step` appends one step to it. Sampling, greedy
decoding, best-of-N and the nodes of a search tree are all this one function; a search adds the
steps that were drawn from the same prefix before, and the new one is then drawn without
replacement.

Letters: B batch, S steps of a solution, L tokens of the longest step, P tokens of a prompt,
K siblings, V vocabulary, D features.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.networks.transformer import KeyValues

FORBIDDEN = -1e9  # a logit, finite so that nothing becomes NaN


@dataclasses.dataclass(frozen=True, eq=False)
class StepFormat:
    """What decoding must know of a language whose solutions are written in steps."""

    num_steps: int  # S, steps of a complete solution
    max_step_length: int  # L, tokens of the longest step, its end token included
    max_length: int  # T, tokens of the longest solution
    end_of_step: int  # the token that ends a step
    pad: int  # the token that stands for no token
    grammar: np.ndarray  # [T, V] bool, tokens allowed at each place of a solution
    end_of_solution: int = -1  # the token that ends a step and the solution with it; -1: none

    def ends_step(self, tokens: jax.Array) -> jax.Array:
        """`[...]` bool, which of `tokens [...]` end a step."""
        return (tokens == self.end_of_step) | (tokens == self.end_of_solution)


class Prefix(NamedTuple):
    """Partly written solutions. What is not written yet is padding."""

    tokens: jax.Array  # [B, T] int32
    num_steps: jax.Array  # [B] int32, steps written
    length: jax.Array  # [B] int32, tokens written
    hidden: jax.Array  # [B, D] at the last token read
    cache: KeyValues  # of the first T - 1 tokens


class Step(NamedTuple):
    """One drawn step."""

    tokens: jax.Array  # [B, L] int32
    draw_log_probs: jax.Array  # [B, L] under the distribution it was drawn from; 0 at padding
    prior_log_prob: jax.Array  # [B] under the policy at temperature 1
    duplicate: jax.Array  # [B] bool, a sibling is the same step
    length: jax.Array  # [B] int32, tokens


class Siblings(NamedTuple):
    """Steps that were drawn from the same prefix before."""

    tokens: jax.Array  # [B, K, L] int32
    draw_log_probs: jax.Array  # [B, K, L]
    present: jax.Array  # [B, K] bool


def start(
    model: LanguageModel,
    params: Params,
    prompts: jax.Array,
    form: StepFormat,
    real: jax.Array | None = None,
) -> tuple[KeyValues, Prefix]:
    """Reads `prompts [B, P]`; returns their cache and empty solutions.

    Args:
        real: `[B, P]` bool, False where a prompt is padded on the left; by default nowhere.
    """
    hidden, prompt_cache = model.read(params, prompts, real)
    batch = prompts.shape[0]
    tokens = jnp.full((batch, form.max_length), form.pad, jnp.int32)
    zeros = jnp.zeros((batch,), jnp.int32)
    cache = _empty_like(prompt_cache, form.max_length - 1)
    return prompt_cache, Prefix(tokens, zeros, zeros, hidden[:, -1], cache)


def _empty_like(cache: KeyValues, length: int) -> KeyValues:
    return jax.tree.map(
        lambda x: jnp.zeros((*x.shape[:2], length, x.shape[3]), x.dtype), cache._replace(real=None)
    )


def finished(prefix: Prefix, form: StepFormat) -> jax.Array:
    """`[...]` bool, whether the solutions are complete. Their own tokens alone decide."""
    ended = (prefix.tokens == form.end_of_solution).any(axis=-1)
    return ended | (prefix.num_steps >= form.num_steps)


def next_token_log_probs(
    model: LanguageModel, params: Params, prefix: Prefix, form: StepFormat
) -> jax.Array:
    """`[B, V]` log-probabilities of the next token under policy and grammar."""
    logits = model.policy_logits(params, prefix.hidden)
    return _grammatical(logits, prefix.length, form)


def _grammatical(logits: jax.Array, places: jax.Array, form: StepFormat) -> jax.Array:
    """Log-probabilities over the tokens that the grammar allows at `places [B]`."""
    allowed = jnp.asarray(form.grammar)[jnp.minimum(places, form.grammar.shape[0] - 1)]
    return jnp.where(allowed, jax.nn.log_softmax(jnp.where(allowed, logits, FORBIDDEN)), FORBIDDEN)


def append_token(
    model: LanguageModel,
    params: Params,
    prompt_cache: KeyValues,
    prefix: Prefix,
    token: jax.Array,
    form: StepFormat,
) -> Prefix:
    """Appends `token [B]` to every unfinished prefix; finished ones stay as they are."""
    active = ~finished(prefix, form)
    places = jnp.arange(prompt_cache.length + form.max_length)  # the new token's is the last
    seen = (places < prompt_cache.length + prefix.length[:, None]) | (places == places[-1])
    hidden, new = model.extend(
        params,
        token[:, None],
        (prompt_cache.length + prefix.length)[:, None],
        seen[:, None],
        (prompt_cache, prefix.cache),
    )
    one = active.astype(jnp.int32)
    return Prefix(
        tokens=_write(prefix.tokens, token[:, None], prefix.length, one),
        num_steps=prefix.num_steps + (active & form.ends_step(token)),
        length=prefix.length + one,
        hidden=jnp.where(active[:, None], hidden[:, 0], prefix.hidden),
        cache=jax.tree.map(
            lambda old, x: _write_cache(old, x, prefix.length, one), prefix.cache, new
        ),
    )


def draw_token(
    model: LanguageModel,
    params: Params,
    prompt_cache: KeyValues,
    prefix: Prefix,
    keys: jax.Array,
    form: StepFormat,
    temperature: float = 1.0,
) -> tuple[Prefix, jax.Array]:
    """Appends one token to every unfinished prefix; finished ones stay as they are.

    Args:
        keys: `[B]` typed keys, consumed.
        temperature: of the draw, positive.

    Returns:
        The prefixes, and the tokens `[B]`, padding where nothing was drawn.
    """
    log_probs = next_token_log_probs(model, params, prefix, form)
    token = jax.vmap(jax.random.categorical)(keys, log_probs / temperature).astype(jnp.int32)
    after = append_token(model, params, prompt_cache, prefix, token, form)
    return after, jnp.where(finished(prefix, form), form.pad, token)


def draw_step(
    model: LanguageModel,
    params: Params,
    prompt_cache: KeyValues,
    prefix: Prefix,
    keys: jax.Array,
    form: StepFormat,
    temperature: float = 1.0,
    siblings: Siblings | None = None,
    min_p: float = 0.0,
) -> tuple[Prefix, Step]:
    """Appends one step to every unfinished prefix; finished ones stay as they are.

    With `siblings` the step is drawn without replacement: at every token the probability of the
    siblings that still agree is taken away, so that the whole step has the distribution of the
    policy given that it is none of them (Shi et al. 2020, incremental sampling without
    replacement). Where nothing else is left, a sibling is drawn again and called a duplicate.

    Args:
        keys: `[B]` typed keys, consumed.
        temperature: of the draw; 0 takes the likeliest token. Static.
        min_p: tokens whose probability is below this times the likeliest one's are not drawn
            (Nguyen et al. 2024, min-p sampling). Static.
    """
    batch, length = prefix.tokens.shape[0], form.max_step_length
    active = ~finished(prefix, form)
    uniforms = jax.vmap(lambda key: jax.random.uniform(key, (length,)))(keys)
    written = jnp.arange(form.max_length - 1) < prefix.length[:, None]
    seen = jnp.concatenate([jnp.ones((batch, prompt_cache.length), bool), written], axis=1)
    local = _empty_like(prompt_cache, length)

    def draw_token(carry, inputs):
        hidden, local, done, agree = carry
        place, uniform = inputs
        prior = _grammatical(model.policy_logits(params, hidden), prefix.length + place, form)
        draw = prior if temperature in (0.0, 1.0) else jax.nn.log_softmax(prior / temperature)
        if min_p > 0.0:
            likely = draw >= draw.max(axis=-1, keepdims=True) + math.log(min_p)
            draw = jnp.where(likely, draw, FORBIDDEN)
            draw = jnp.where(likely, jax.nn.log_softmax(draw), FORBIDDEN)
        weights = jnp.exp(draw)
        if siblings is not None:
            # What a sibling still weighs: the probability of the rest of it, from here on.
            rest = siblings.draw_log_probs * (jnp.arange(length) >= place)
            mass = jnp.where(agree, jnp.exp(rest.sum(axis=-1)), 0.0)
            at = siblings.tokens[:, :, place]
            taken = jnp.zeros_like(weights).at[jnp.arange(batch)[:, None], at].add(mass)
            left = jnp.where(weights - taken > 1e-4 * weights, weights - taken, 0.0)
            weights = jnp.where(left.sum(axis=-1, keepdims=True) > 1e-7, left, weights)
        if temperature == 0.0:
            token = jnp.argmax(weights, axis=-1).astype(jnp.int32)
        else:
            cumulative = jnp.cumsum(weights, axis=-1)
            threshold = uniform[:, None] * cumulative[:, -1:]
            token = (cumulative <= threshold).sum(axis=-1, dtype=jnp.int32)
            token = jnp.minimum(token, weights.shape[-1] - 1)
        if siblings is not None:
            agree &= siblings.tokens[:, :, place] == jnp.where(done, form.pad, token)[:, None]
        rows = jnp.arange(batch)
        draw_log_prob = jnp.where(done, 0.0, draw[rows, token])
        prior_log_prob = jnp.where(done, 0.0, prior[rows, token])
        token = jnp.where(done, form.pad, token)

        # A step-local cache: its slot is the same for the whole batch, whatever came before.
        now = jnp.arange(length) < place
        mask = jnp.concatenate([seen, jnp.broadcast_to(now, (batch, length))], axis=1)
        mask = jnp.concatenate([mask, jnp.ones((batch, 1), bool)], axis=1)[:, None]
        position = (prompt_cache.length + prefix.length + place)[:, None]
        past = (prompt_cache, prefix.cache, local)
        new_hidden, new = model.extend(params, token[:, None], position, mask, past)
        local = jax.tree.map(
            lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x, place, axis=2), local, new
        )
        hidden = jnp.where(done[:, None], hidden, new_hidden[:, 0])
        done = done | form.ends_step(token)
        outputs = token, draw_log_prob, prior_log_prob
        return (hidden, local, done, agree), outputs

    agree = jnp.zeros((batch, 0), bool) if siblings is None else siblings.present
    carry = (prefix.hidden, local, ~active, agree)
    (hidden, local, _, agree), (tokens, draw_log_probs, prior_log_probs) = jax.lax.scan(
        draw_token, carry, (jnp.arange(length), uniforms.T)
    )
    tokens = tokens.T
    step_length = (tokens != form.pad).sum(axis=1, dtype=jnp.int32)
    step = Step(
        tokens, draw_log_probs.T, prior_log_probs.sum(axis=0), agree.any(axis=1), step_length
    )
    after = Prefix(
        tokens=_write(prefix.tokens, tokens, prefix.length, step_length),
        num_steps=prefix.num_steps + active,
        length=prefix.length + step_length,
        hidden=hidden,
        cache=jax.tree.map(
            lambda old, new: _write_cache(old, new, prefix.length, step_length),
            prefix.cache,
            local,
        ),
    )
    return after, step


def read_step(
    model: LanguageModel,
    params: Params,
    prompt_cache: KeyValues,
    prefix: Prefix,
    written: Prefix,
    form: StepFormat,
) -> Prefix:
    """`prefix` with the step that `written` has behind it: how one network follows another's words.

    Args:
        prefix: what `model` has read.
        written: the same solutions with one more step each, or none; of it only what was written
            counts, not what its own network made of that.
    """
    batch, length = prefix.tokens.shape[0], form.max_step_length
    places = jnp.arange(length)
    number = jnp.minimum(written.length - prefix.length, length)
    new = places < number[:, None]
    at = prefix.length[:, None] + places
    tokens = jnp.take_along_axis(written.tokens, jnp.minimum(at, form.max_length - 1), axis=1)
    tokens = jnp.where(new, tokens, form.pad)
    seen = jnp.concatenate(
        [
            jnp.ones((batch, prompt_cache.length), bool),
            jnp.arange(form.max_length - 1) < prefix.length[:, None],
        ],
        axis=1,
    )
    seen = jnp.broadcast_to(seen[:, None], (batch, length, seen.shape[1]))
    among = jnp.broadcast_to(jnp.tril(jnp.ones((length, length), bool)), (batch, length, length))
    hidden, cache = model.extend(
        params,
        tokens,
        prompt_cache.length + at,
        jnp.concatenate([seen, among], axis=2),
        (prompt_cache, prefix.cache),
    )
    last = jnp.maximum(number - 1, 0)[:, None, None]
    newest = jnp.take_along_axis(hidden, last, axis=1)[:, 0]
    return Prefix(
        tokens=written.tokens,
        num_steps=written.num_steps,
        length=prefix.length + number,
        hidden=jnp.where(number[:, None] > 0, newest, prefix.hidden),
        cache=jax.tree.map(
            lambda old, x: _write_cache(old, x, prefix.length, number), prefix.cache, cache
        ),
    )


def _write(old: jax.Array, new: jax.Array, at: jax.Array, length: jax.Array) -> jax.Array:
    """Writes the first `length [B]` of `new [B, L]` into `old [B, T]` from place `at [B]` on."""
    offset = jnp.arange(old.shape[1]) - at[:, None]
    inside = (offset >= 0) & (offset < length[:, None])
    moved = jnp.take_along_axis(new, jnp.clip(offset, 0, new.shape[1] - 1), axis=1)
    return jnp.where(inside, moved, old)


def _write_cache(old: jax.Array, new: jax.Array, at: jax.Array, length: jax.Array) -> jax.Array:
    """As `_write`, for `old [B, G, T, C]` and `new [B, G, L, C]`.

    A product with a zero-one matrix instead of a gather: exact, and several times faster on CPU.
    """
    offset = jnp.arange(old.shape[2]) - at[:, None]
    inside = (offset >= 0) & (offset < length[:, None])
    place = (offset[:, :, None] == jnp.arange(new.shape[2])) & inside[:, :, None]
    moved = jnp.einsum(
        "btl,bglc->bgtc", place.astype(new.dtype), new, precision=jax.lax.Precision.HIGHEST
    )
    return jnp.where(inside[:, None, :, None], moved, old)


def sample_solutions(
    model: LanguageModel,
    params: Params,
    prompts: jax.Array,
    keys: jax.Array,
    form: StepFormat,
    temperature: float = 1.0,
) -> tuple[Prefix, jax.Array]:
    """Writes one whole solution for each prompt.

    Args:
        prompts: `[B, P]` int32.
        keys: `[B]` typed keys, consumed.

    Returns:
        The finished prefixes, and the policy's log-probability `[B]` of what was written.
    """
    prompt_cache, prefix = start(model, params, prompts, form)
    return write(model, params, prompt_cache, prefix, keys, form, temperature)


def write(
    model: LanguageModel,
    params: Params,
    prompt_cache: KeyValues,
    prefix: Prefix,
    keys: jax.Array,
    form: StepFormat,
    temperature: float = 1.0,
) -> tuple[Prefix, jax.Array]:
    """Writes on until every prefix is finished; returns what `sample_solutions` does."""
    step_keys = jax.vmap(lambda key: jax.random.split(key, form.num_steps))(keys)

    def append(prefix, keys):
        prefix, step = draw_step(model, params, prompt_cache, prefix, keys, form, temperature)
        return prefix, step.prior_log_prob

    prefix, log_probs = jax.lax.scan(append, prefix, jnp.swapaxes(step_keys, 0, 1))
    return prefix, log_probs.sum(axis=0)


def split_steps(tokens: jax.Array, form: StepFormat) -> jax.Array:
    """Cuts solutions `[B, T]` behind each end of a step: `[B, S, L]`, padded.

    Tokens beyond `max_step_length` of a step and steps beyond `num_steps` are dropped.
    """
    ends = form.ends_step(tokens)
    step = jnp.cumsum(ends, axis=1) - ends  # [B, T], which step a token is in
    first = jax.vmap(jnp.searchsorted, (0, None))(step, jnp.arange(form.num_steps))
    place = first[:, :, None] + jnp.arange(form.max_step_length)
    inside = place < tokens.shape[1]
    place = jnp.minimum(place, tokens.shape[1] - 1)
    rows = jnp.arange(tokens.shape[0])[:, None, None]
    same = step[rows, place] == jnp.arange(form.num_steps)[:, None]
    return jnp.where(inside & same, tokens[rows, place], form.pad)


def step_ends(tokens: jax.Array, form: StepFormat) -> tuple[jax.Array, jax.Array]:
    """Where the steps of solutions `[B, T]` end: `[B, S]` int32, and `[B, S]` bool, which do."""
    ended = jnp.cumsum(form.ends_step(tokens), axis=1)
    steps = jnp.arange(form.num_steps)
    place = jax.vmap(jnp.searchsorted, (0, None))(ended, steps + 1)
    return jnp.minimum(place, tokens.shape[1] - 1), steps < ended[:, -1:]
