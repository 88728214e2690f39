"""Plain expert iteration: sample whole solutions, keep the right ones, imitate them.

The control that search distillation has to beat at equal FLOPs. It sees the same problems and
learns through the same loss; only its teacher differs (rejection sampling, as in STaR and
ReST-EM, without the restart from the base).
"""

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import StepFormat, sample_solutions, split_steps
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.objectives.search_distillation import draw_problems
from rlsearch.objectives.step_targets import StepTargets
from rlsearch.tasks.base import Task


def expert_iteration_targets(
    params: Params,
    keys: jax.Array,
    task: Task,
    model: LanguageModel,
    form: StepFormat,
    task_fraction: float,
) -> tuple[StepTargets, dict[str, jax.Array]]:
    """Samples one solution a key.

    Args:
        keys: `[B]` typed keys, one a sample, consumed.

    Returns:
        B rows with M = 1, in which wrong solutions have weight 0 for the policy, and per-row
        metrics as `search_targets` gives them.
    """
    problem_keys, sample_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    prompts = draw_problems(task, problem_keys, task_fraction)
    prefix, _ = sample_solutions(model, params, prompts, sample_keys, form)
    right = task.check_tokens(prompts, prefix.tokens).astype(jnp.float32)
    per_step = jnp.broadcast_to(right[:, None, None], (keys.shape[0], form.num_steps, 1))
    targets = StepTargets(
        prompts=prompts,
        steps=split_steps(prefix.tokens, form)[:, :, None],
        weights=per_step,
        values=per_step,
        value_weights=jnp.ones_like(per_step),
        prompt_values=right,
        prompt_value_weights=jnp.ones_like(right),
        counted=jnp.ones((*per_step.shape, form.max_step_length), bool),
    )
    metrics = {"solved": right, "search_tokens": prefix.length.astype(jnp.float32)}
    return jax.lax.stop_gradient(targets), metrics


def keep_right(targets: StepTargets, num_kept: int) -> StepTargets:
    """The `num_kept` rows to remember: right ones first, wrong ones (for the value) after."""
    order = jnp.argsort(-targets.prompt_values, stable=True)[:num_kept]
    return jax.tree.map(lambda x: x[order], targets)
