"""The rows that stand beside those of a teacher: samples for the value alone, and random traces."""

import jax
import jax.numpy as jnp

from rlsearch.config import DistillConfig
from rlsearch.decoding.steps import Prefix, StepFormat
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.objectives.critic_samples import critic_targets
from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.objectives.step_targets import StepTargets
from rlsearch.objectives.widen import widen
from rlsearch.tasks.base import Task


def with_companions(
    targets: StepTargets,
    params: Params,
    sample_keys: jax.Array,
    trace_keys: jax.Array,
    prompt_cache: KeyValues,
    first: Prefix,
    task: Task,
    model: LanguageModel,
    form: StepFormat,
    config: DistillConfig,
    contrast: float,
) -> StepTargets:
    """For each of B rows that row and behind it `critic_samples` and `traces` more.

    Args:
        sample_keys, trace_keys: `[B]` typed keys. Numbers from `2 * form.max_length` on are folded
            into those of the samples, so that smaller ones are free for a teacher's own use.
        first: empty solutions, after the prompts whose cache is `prompt_cache`.
        contrast: of the traces, see `hindsight_targets`.
    """
    rows = [targets]
    for number in range(config.critic_samples):
        keys = jax.vmap(jax.random.fold_in, (0, None))(sample_keys, 2 * form.max_length + number)
        more = critic_targets(
            params, keys, targets.prompts, prompt_cache, first, task, model, form, targets
        )
        rows.append(more)
    for number in range(config.traces):
        keys = jax.vmap(jax.random.fold_in, (0, None))(trace_keys, number)
        rows.append(widen(hindsight_targets(task, keys, contrast), targets, form))
    # A problem's rows lie side by side, so that their order is the same over any number of devices.
    return jax.tree.map(lambda *x: jnp.stack(x, axis=1).reshape(-1, *x[0].shape[1:]), *rows)
