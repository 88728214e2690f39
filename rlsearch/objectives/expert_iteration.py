"""Plain expert iteration: sample whole solutions of a problem, imitate one that is right.

The control that search distillation has to beat at equal FLOPs. It sees the same problems, keeps
the same samples for its value and the same traces, and learns through the same loss; only its
teacher differs (rejection sampling, as in STaR and ReST-EM, without the restart from the base).
"""

import jax
import jax.numpy as jnp

from rlsearch.config import DistillConfig
from rlsearch.decoding.steps import StepFormat, split_steps, start, write
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.objectives.companions import with_companions
from rlsearch.objectives.search_distillation import draw_problems
from rlsearch.objectives.step_targets import StepTargets, written
from rlsearch.tasks.base import Task


def expert_iteration_targets(
    params: Params,
    keys: jax.Array,
    task: Task,
    model: LanguageModel,
    form: StepFormat,
    config: DistillConfig,
    num_samples: int,
    contrast: float,
) -> tuple[StepTargets, dict[str, jax.Array]]:
    """Samples `num_samples` solutions of one problem a key, one after another.

    Args:
        keys: `[B]` typed keys, one a problem, consumed. A problem's targets depend on its own
            key alone.
        contrast: of the traces, see `hindsight_targets`.

    Returns:
        Rows with M = 1: for each problem its first right sample, or where none was right the last
        one with weight 0 for the policy, and behind it the rows of `with_companions`. Metrics `[B]`
        are those of `search_targets`: `solved` is the share of samples that were right.
    """
    batch = keys.shape[0]
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 3)))
    problem_keys, sample_keys, trace_keys = split(keys)
    prompts = draw_problems(task, problem_keys, config)
    prompt_cache, first = start(model, params, prompts, form)
    own_keys = jax.vmap(jax.random.fold_in, (0, None))(sample_keys, 0)

    def sample(kept, number):
        kept_tokens, solved = kept
        keys = jax.vmap(jax.random.fold_in, (0, None))(own_keys, number)
        prefix, _ = write(model, params, prompt_cache, first, keys, form)
        right = task.check_tokens(prompts, prefix.tokens)
        tokens = jnp.where(solved[:, None], kept_tokens, prefix.tokens)
        return (tokens, solved | right), (right, prefix.length)

    nothing = first.tokens, jnp.zeros((batch,), bool)
    (tokens, solved), (right, lengths) = jax.lax.scan(sample, nothing, jnp.arange(num_samples))

    solved = solved.astype(jnp.float32)
    steps = split_steps(tokens, form)[:, :, None]
    present = written(steps, form.pad)
    per_step = solved[:, None, None] * present
    targets = StepTargets(
        prompts=prompts,
        steps=steps,
        weights=per_step,
        values=per_step,
        value_weights=present,
        prompt_values=solved,
        prompt_value_weights=jnp.ones_like(solved),
        counted=jnp.ones((*per_step.shape, form.max_step_length), bool),
    )
    rows = with_companions(
        targets,
        params,
        sample_keys,
        trace_keys,
        prompt_cache,
        first,
        task,
        model,
        form,
        config,
        contrast,
    )
    metrics = {
        "solved": right.astype(jnp.float32).mean(axis=0),
        "search_tokens": lengths.sum(axis=0).astype(jnp.float32),
    }
    return jax.lax.stop_gradient(rows), metrics
