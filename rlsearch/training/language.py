"""The stages of a language run: what each learns from, for how long, and where it starts.

Every stage is the same step (`rlsearch.training.step`) with another source of rows:

    base        random traces with hindsight goals          from fresh parameters
    distilled   what tree search found, with the checker    from the base
    control     right samples of plain expert iteration     from the base, at the FLOPs of distilled

Behind them come the policy that revises (`rlsearch.training.revisions`) and the verifiers that the
run trains (`rlsearch.training.verifiers`).
"""

import functools
from collections.abc import Callable

import jax

from rlsearch.config import Experiment, OptimizerConfig, SearchConfig
from rlsearch.decoding.steps import StepFormat
from rlsearch.networks.flops import flops_per_token
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.objectives.expert_iteration import expert_iteration_targets
from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.objectives.search_distillation import search_targets
from rlsearch.objectives.step_targets import StepTargets, per_weight, step_losses
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.stage import Checkpoint, Metrics, Stage, StageFlops
from rlsearch.search.search import num_decisions
from rlsearch.tasks.base import Task
from rlsearch.training.replay import Replay, add, empty_replay, sample


def language_stages(
    config: Experiment, task: Task, model: LanguageModel, form: StepFormat
) -> tuple[Stage, ...]:
    """The stages of an experiment, in their order.

    Raises:
        ValueError: if parts of the config do not fit together.
    """
    pretrain, distill, control = config.pretrain, config.distill, config.control
    stage = functools.partial(rows_stage, model, form.pad)
    base = stage(
        name="base",
        start=None,
        num_steps=pretrain.num_steps,
        num_keys=pretrain.batch_size,
        produce=lambda params, keys: (hindsight_targets(task, keys, pretrain.contrast), {}),
        replay_size=pretrain.batch_size,
        updates_per_step=1,
        batch_size=pretrain.batch_size,
        optimizer=pretrain.optimizer,
        flops=stage_flops(model, task, form, rows=pretrain.batch_size, candidates=1),
    )
    if not distill.enabled:
        return (base,)

    if config.search.actions == "moves":
        raise ValueError("search.actions is 'moves': in language it must be steps or tokens")
    total = num_decisions(form, config.search)
    if total % distill.decisions_per_search:
        raise ValueError(
            f"distill.decisions_per_search is {distill.decisions_per_search}: it must be a divisor "
            f"of the decisions of a solution, {total}"
        )
    if distill.num_targets > config.search.num_candidates:
        raise ValueError(
            f"distill.num_targets is {distill.num_targets}: it must be at most "
            f"search.num_candidates, {config.search.num_candidates}"
        )
    learnt = distill.updates_per_step * distill.batch_size
    from_base = functools.partial(
        stage,
        start=Checkpoint(model, base.num_steps),
        num_keys=distill.num_problems,
        replay_size=distill.replay_size,
        updates_per_step=distill.updates_per_step,
        batch_size=distill.batch_size,
        optimizer=distill.optimizer,
    )
    distilled_flops = stage_flops(
        model,
        task,
        form,
        rows=learnt,
        candidates=distill.num_targets,
        problems=distill.num_problems,
        search=config.search,
        searches=total // distill.decisions_per_search,
        samples=distill.critic_samples + 1,  # the tree's end is written on by the policy alone
    )
    distilled = from_base(
        name="distilled",
        num_steps=distill.num_steps,
        produce=lambda params, keys: search_targets(
            params, keys, task, model, form, config.search, distill, pretrain.contrast
        ),
        flops=distilled_flops,
    )
    control_flops = stage_flops(
        model,
        task,
        form,
        rows=learnt,
        candidates=1,
        problems=distill.num_problems,
        samples=control.num_samples + distill.critic_samples,
    )
    control_stage = from_base(
        name="control",
        num_steps=max(1, round(distill.num_steps * distilled_flops.total / control_flops.total)),
        produce=lambda params, keys: expert_iteration_targets(
            params, keys, task, model, form, distill, control.num_samples, pretrain.contrast
        ),
        flops=control_flops,
    )
    return (base, distilled, control_stage) if control.enabled else (base, distilled)


def rows_stage(
    model: LanguageModel,
    pad: int,
    name: str,
    start: Checkpoint | None,
    num_steps: int,
    num_keys: int,
    produce: Callable[[Params, jax.Array], tuple[StepTargets, Metrics]],
    replay_size: int,
    updates_per_step: int,
    batch_size: int,
    optimizer: OptimizerConfig,
    flops: StageFlops,
) -> Stage:
    """A stage whose rows come from `produce`, of which the newest are remembered."""

    def lanes(rows: StepTargets) -> StepTargets:
        return jax.tree.map(lambda x: x[:, None], rows)

    @functools.cache  # tracing a search takes seconds: once, however often the stage is started
    def row_shapes() -> StepTargets:
        params = jax.eval_shape(model.init, jax.random.key(0))
        keys = jax.eval_shape(lambda key: row_keys(key, num_keys), jax.random.key(0))
        return jax.eval_shape(lambda *x: lanes(produce(*x)[0]), params, keys)

    def memory(params: Params, keys: jax.Array) -> Replay:
        del params, keys
        return empty_replay(row_shapes(), replay_size // row_shapes().prompts.shape[0])

    def collect(params: Params, replay: Replay, keys: jax.Array) -> tuple[Replay, Metrics]:
        rows, facts = produce(params, keys)
        return add(replay, lanes(rows)), facts

    def batch(replay: Replay, key: jax.Array) -> StepTargets:
        return per_weight(sample(replay, key, batch_size))

    def loss(params: Params, rows: StepTargets, keys: jax.Array) -> tuple[jax.Array, Metrics]:
        del keys
        return step_losses(model, params, rows, pad)

    return Stage(
        name=name,
        model=model,
        start=start,
        num_steps=num_steps,
        num_keys=num_keys,
        memory=memory,
        collect=collect,
        batch=batch,
        loss=loss,
        batch_size=batch_size,
        updates_per_step=updates_per_step,
        optimizer=optimizer,
        flops_per_step=flops,
    )


def stage_flops(
    model: LanguageModel,
    task: Task,
    form: StepFormat,
    rows: int,
    candidates: int,
    problems: int = 0,
    search: SearchConfig | None = None,
    searches: int = 0,
    samples: int = 0,
) -> StageFlops:
    """FLOPs of a training step, counted as they are computed: padding is paid for too.

    Args:
        rows: rows learnt from, in all minibatches together.
        candidates: M of each row.
        problems: problems searched or sampled from.
        search: the search, or None.
        searches: how many of them write a solution.
        samples: whole solutions sampled of each problem.
    """
    decisions = form.num_steps if search is None else num_decisions(form, search)
    per_decision = form.max_step_length if decisions == form.num_steps else 1
    row_length = task.prompt_length + decisions * candidates * per_decision
    update = 3 * rows * row_length * flops_per_token(model, row_length)
    context = task.prompt_length + form.max_length + per_decision
    read = task.prompt_length * flops_per_token(model, task.prompt_length, policy=False)
    tokens = samples * form.num_steps * form.max_step_length
    if search is not None:
        tokens += searches * per_decision * search.num_simulations
    written = tokens * flops_per_token(model, context)
    return StageFlops(produce=problems * (read + written), update=update)
