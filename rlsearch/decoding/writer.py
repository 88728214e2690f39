"""A policy with its weights, and all that it does to a draft.

Letters: B batch, S steps of a solution, L tokens of the longest step, P tokens of a prompt,
K siblings, V vocabulary, D features.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rlsearch.decoding.contexts import Context
from rlsearch.decoding.draft import (
    Draft,
    Line,
    Prompt,
    Siblings,
    Step,
    empty_like,
    write_cache,
    write_tokens,
)
from rlsearch.decoding.policy import Policy, SolutionFormat
from rlsearch.decoding.sampling import FORBIDDEN, Sampling
from rlsearch.keys import folded
from rlsearch.loops import while_at_most
from rlsearch.networks.language_model import Params
from rlsearch.parallel.mesh import rows_alone
from rlsearch.tasks.base import NO_TOKEN


@functools.partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["policy"])
@dataclasses.dataclass(frozen=True)
class Writer:
    """A policy with its weights: a pytree, so that it passes through `jit` as one argument."""

    policy: Policy
    params: Params

    @property
    def format(self) -> SolutionFormat:
        """The format of the solutions it writes."""
        return self.policy.format

    def start(self, prompts: jax.Array, context: Context | None = None) -> Draft:
        """Reads `prompts [B, P]`; returns empty solutions of them.

        Args:
            context: the prompts with earlier attempts, to be read in their place.
        """
        format, model = self.format, self.policy.model
        if context is None and format.pad == NO_TOKEN:
            context = Context(prompts, prompts != NO_TOKEN)
        if context is None:
            hidden, cache = model.read(self.params, prompts)
        else:
            hidden, cache = model.read(self.params, context.tokens, context.real)
        tokens = jnp.full((prompts.shape[0], format.max_length), format.pad, jnp.int32)
        zeros = jnp.zeros((prompts.shape[0],), jnp.int32)
        line = Line(tokens, zeros, zeros, hidden[:, -1], empty_like(cache, format.max_length - 1))
        return Draft(Prompt(prompts, cache), line)

    def finished(self, draft: Draft) -> jax.Array:
        """`[B]` bool, the solutions that are complete."""
        return draft.line.finished(self.format)

    def value(self, draft: Draft) -> jax.Array:
        """`[B]` float32, the value head's probability that a solution comes out right."""
        return self.policy.model.value(self.params, draft.line.hidden)

    def next_token_log_probs(self, draft: Draft) -> jax.Array:
        """`[B, V]` log-probabilities of the next token under policy and grammar."""
        return self._grammatical(draft.line.hidden, draft.line.length)

    def _grammatical(self, hidden: jax.Array, places: jax.Array) -> jax.Array:
        """Log-probabilities over the tokens that the grammar allows at `places [B]`."""
        # Whole in the vocabulary: to draw from a split one, devices would talk at every token.
        logits = rows_alone(self.policy.model.policy_logits(self.params, hidden))
        grammar = self.format.grammar
        if grammar is None:
            return jax.nn.log_softmax(logits)
        allowed = jnp.asarray(grammar)[jnp.minimum(places, grammar.shape[0] - 1)]
        log_probs = jax.nn.log_softmax(jnp.where(allowed, logits, FORBIDDEN))
        return jnp.where(allowed, log_probs, FORBIDDEN)

    def append_token(self, draft: Draft, token: jax.Array) -> Draft:
        """Appends `token [B]` to every unfinished draft; finished ones stay as they are."""
        line, before = draft.line, draft.prompt.length
        active = ~self.finished(draft)
        places = jnp.arange(before + self.format.max_length)  # the new token's is the last
        seen = (places < before + line.length[:, None]) | (places == places[-1])
        hidden, new = self.policy.model.extend(
            self.params,
            token[:, None],
            (before + line.length)[:, None],
            seen[:, None],
            (draft.prompt.cache, line.cache),
        )
        one = active.astype(jnp.int32)
        after = Line(
            tokens=write_tokens(line.tokens, token[:, None], line.length, one),
            num_steps=line.num_steps + (active & self.format.ends_step(token)),
            length=line.length + one,
            hidden=jnp.where(active[:, None], hidden[:, 0], line.hidden),
            cache=write_cache(line.cache, new, line.length, one),
        )
        return draft._replace(line=after)

    def token(
        self, draft: Draft, keys: jax.Array, sampling: Sampling = Sampling()
    ) -> tuple[Draft, jax.Array]:
        """Draws one token for every unfinished draft; finished ones stay as they are.

        Args:
            keys: `[B]` typed keys, consumed.
            sampling: with a positive temperature.

        Returns:
            The drafts, and the tokens `[B]`, padding where nothing was drawn.
        """
        log_probs = sampling.log_probs(self.next_token_log_probs(draft))
        token = jax.vmap(jax.random.categorical)(keys, log_probs).astype(jnp.int32)
        after = self.append_token(draft, token)
        return after, jnp.where(self.finished(draft), self.format.pad, token)

    def step(
        self,
        draft: Draft,
        keys: jax.Array,
        sampling: Sampling = Sampling(),
        siblings: Siblings | None = None,
    ) -> tuple[Draft, Step]:
        """Draws one step for every unfinished draft; finished ones stay as they are.

        With `siblings` the step is drawn without replacement: at every token the probability of
        the siblings that still agree is taken away, so that the whole step has the distribution of
        the policy given that it is none of them (Shi et al. 2020, incremental sampling without
        replacement). Where nothing else is left, a sibling is drawn again and called a duplicate.

        Args:
            keys: `[B]` typed keys, consumed.
        """
        line, model, format = draft.line, self.policy.model, self.format
        batch, length = line.tokens.shape[0], format.max_step_length
        active = ~self.finished(draft)
        uniforms = jax.vmap(lambda key: jax.random.uniform(key, (length,)))(keys).T
        seen, before = draft.seen(), draft.prompt.length
        local = empty_like(draft.prompt.cache, length)
        rows = jnp.arange(batch)

        def unfinished(carry):
            place, (_, _, done, _), _ = carry
            return (place < length) & ~done.all()

        def draw_token(carry):
            place, (hidden, local, done, agree), drawn = carry
            prior = self._grammatical(hidden, line.length + place)
            draw = sampling.log_probs(prior)
            weights = jnp.exp(draw)
            if siblings is not None:
                # What a sibling still weighs: the probability of the rest of it, from here on.
                rest = siblings.draw_log_probs * (jnp.arange(length) >= place)
                mass = jnp.where(agree, jnp.exp(rest.sum(axis=-1)), 0.0)
                at = siblings.tokens[:, :, place]
                taken = jnp.zeros_like(weights).at[rows[:, None], at].add(mass)
                left = jnp.where(weights - taken > 1e-4 * weights, weights - taken, 0.0)
                weights = jnp.where(left.sum(axis=-1, keepdims=True) > 1e-7, left, weights)
            token = sampling.pick(weights, uniforms[place])
            if siblings is not None:
                agree &= siblings.tokens[:, :, place] == jnp.where(done, format.pad, token)[:, None]
            draw_log_prob = jnp.where(done, 0.0, draw[rows, token])
            prior_log_prob = jnp.where(done, 0.0, prior[rows, token])
            token = jnp.where(done, format.pad, token)

            # A step-local cache: its slot is the same for the whole batch, whatever came before.
            now = jnp.arange(length) < place
            mask = jnp.concatenate([seen, jnp.broadcast_to(now, (batch, length))], axis=1)
            mask = jnp.concatenate([mask, jnp.ones((batch, 1), bool)], axis=1)[:, None]
            position = (before + line.length + place)[:, None]
            past = (draft.prompt.cache, line.cache, local)
            new_hidden, new = model.extend(self.params, token[:, None], position, mask, past)
            local = jax.tree.map(
                lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x, place, axis=2),
                local,
                new,
            )
            hidden = jnp.where(done[:, None], hidden, new_hidden[:, 0])
            done = done | format.ends_step(token)
            if format.grammar is None:
                done |= line.length + place + 1 >= format.max_length
            new = token, draw_log_prob, prior_log_prob
            drawn = jax.tree.map(lambda old, x: old.at[place].set(x), drawn, new)
            return place + 1, (hidden, local, done, agree), drawn

        agree = jnp.zeros((batch, 0), bool) if siblings is None else siblings.present
        nothing = jnp.zeros((length, batch))
        drawn = jnp.full((length, batch), format.pad, jnp.int32), nothing, nothing
        start = jnp.int32(0), (line.hidden, local, ~active, agree), drawn
        _, (hidden, local, _, agree), drawn = while_at_most(length, unfinished, draw_token, start)
        tokens, draw_log_probs, prior_log_probs = drawn
        tokens = tokens.T
        step_length = (tokens != format.pad).sum(axis=1, dtype=jnp.int32)
        step = Step(
            tokens, draw_log_probs.T, prior_log_probs.sum(axis=0), agree.any(axis=1), step_length
        )
        after = Line(
            tokens=write_tokens(line.tokens, tokens, line.length, step_length),
            num_steps=line.num_steps + active,
            length=line.length + step_length,
            hidden=hidden,
            cache=write_cache(line.cache, local, line.length, step_length),
        )
        return draft._replace(line=after), step

    def write(
        self, draft: Draft, keys: jax.Array, sampling: Sampling = Sampling()
    ) -> tuple[Draft, jax.Array]:
        """Writes on until every draft is finished.

        Args:
            keys: `[B]` typed keys, consumed.

        Returns:
            The finished drafts, and the policy's log-probability `[B]` of what was written.
        """
        each = step_keys(keys, self.format.num_steps)
        return self._until_finished(draft, lambda turn: each[turn], sampling)

    def complete(self, draft: Draft, keys: jax.Array) -> Draft:
        """Writes on until every draft is finished; `keys [B]` are consumed.

        As `write`, with keys that depend on how many steps are written, not on how many there are.
        """
        return self._until_finished(draft, lambda turn: folded(keys, turn), Sampling())[0]

    def _until_finished(
        self, draft: Draft, keys_of: Callable[[jax.Array], jax.Array], sampling: Sampling
    ) -> tuple[Draft, jax.Array]:
        """See `write`; step number `turn` of all is drawn with the keys `[B]` of that."""
        longest = self.format.num_steps

        def unfinished(carry: tuple[Line, jax.Array, jax.Array]) -> jax.Array:
            line, _, turn = carry
            return (turn < longest) & ~line.finished(self.format).all()

        def append(carry: tuple[Line, jax.Array, jax.Array]) -> Any:
            line, log_probs, turn = carry
            after, step = self.step(draft._replace(line=line), keys_of(turn), sampling)
            return after.line, log_probs.at[turn].set(step.prior_log_prob), turn + 1

        nothing = jnp.zeros((longest, *draft.line.length.shape))
        start = draft.line, nothing, jnp.int32(0)
        line, log_probs, _ = while_at_most(longest, unfinished, append, start)
        return draft._replace(line=line), log_probs.sum(axis=0)

    def sample(
        self, prompts: jax.Array, keys: jax.Array, sampling: Sampling = Sampling()
    ) -> tuple[Draft, jax.Array]:
        """Writes one whole solution for each of `prompts [B, P]`; see `write`."""
        return self.write(self.start(prompts), keys, sampling)

    def follow(self, draft: Draft, written: Line) -> Draft:
        """Reads the newest step of `written`: how one network follows what another writes.

        Args:
            draft: what this network has read so far.
            written: the same solutions with one more step each, or none; only its tokens count,
                not what its own network made of them.
        """
        line, format, before = draft.line, self.format, draft.prompt.length
        batch, length = line.tokens.shape[0], format.max_step_length
        places = jnp.arange(length)
        number = jnp.minimum(written.length - line.length, length)
        new = places < number[:, None]
        at = line.length[:, None] + places
        tokens = jnp.take_along_axis(written.tokens, jnp.minimum(at, format.max_length - 1), axis=1)
        tokens = jnp.where(new, tokens, format.pad)
        seen = draft.seen()
        seen = jnp.broadcast_to(seen[:, None], (batch, length, seen.shape[1]))
        among = jnp.tril(jnp.ones((length, length), bool))
        among = jnp.broadcast_to(among, (batch, length, length))
        hidden, cache = self.policy.model.extend(
            self.params,
            tokens,
            before + at,
            jnp.concatenate([seen, among], axis=2),
            (draft.prompt.cache, line.cache),
        )
        last = jnp.maximum(number - 1, 0)[:, None, None]
        newest = jnp.take_along_axis(hidden, last, axis=1)[:, 0]
        after = Line(
            tokens=written.tokens,
            num_steps=written.num_steps,
            length=line.length + number,
            hidden=jnp.where(number[:, None] > 0, newest, line.hidden),
            cache=write_cache(line.cache, cache, line.length, number),
        )
        return draft._replace(line=after)


def step_keys(keys: jax.Array, num_steps: int) -> jax.Array:
    """`[S, B]` typed keys, one for each step of each of B solutions; `keys [B]` are consumed."""
    each = jax.vmap(lambda key: jax.random.split(key, num_steps))(keys)
    return jnp.swapaxes(each, 0, 1)
