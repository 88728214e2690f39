"""Evaluates a finished run: every policy it trained, every strategy, every budget."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from etils import epath

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.config import Experiment
from rlsearch.measuring.accuracy import evaluate_strategy, mean_solution_tokens, summarise
from rlsearch.measuring.accuracy_picture import draw
from rlsearch.measuring.judges import check_judges, open_verifier
from rlsearch.networks.language_model import Params
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.runs.directory import RunDirectory, write_json
from rlsearch.runs.opening import read_run
from rlsearch.runs.parameters import load_params, warn
from rlsearch.runs.stage import Stage
from rlsearch.strategies.base import Policy, Strategy, load_strategy
from rlsearch.strategies.revisions import Revisions
from rlsearch.tasks.base import Task
from rlsearch.training.loop import ends
from rlsearch.training.setup import Setup, make_setup, policy_stages
from rlsearch.verifiers.base import Verifier
from rlsearch.verifiers.checker import Checker


def open_run(
    run_dir: str, data_dir: str = "", code: str = ""
) -> tuple[RunDirectory, Experiment, Setup]:
    """Opens a run of a language task; see `read_run`."""
    directory, config = read_run(run_dir, code)
    if not isinstance(config, Experiment):
        raise ValueError(f"run is {run_dir!r}: it is a run of {config.kind}, not of language")
    if data_dir:
        config = dataclasses.replace(
            config, task=dataclasses.replace(config.task, data_dir=data_dir)
        )
    return directory, config, make_setup(config)


def make_policy(setup: Setup) -> Policy:
    """What the strategies are given of a run."""
    return Policy(setup.model, setup.form, setup.task.answers)


def policies(directory: RunDirectory, config: Experiment, setup: Setup) -> dict[str, int]:
    """The policies whose training is complete, and the steps of their checkpoints."""
    return complete(directory, config, policy_stages(config, setup))


def complete(
    directory: RunDirectory, config: Experiment, stages: tuple[Stage, ...]
) -> dict[str, int]:
    """Which of a run's first stages have a last checkpoint, and its step."""
    store = CheckpointStore(directory.checkpoints, config.log.keep_checkpoints, warn)
    present = set(store.steps())
    store.close()
    steps = {stage.name: end for stage, end in zip(stages, ends(stages), strict=True)}
    return {name: step for name, step in steps.items() if step in present}


def policy_params(
    directory: RunDirectory, config: Experiment, setup: Setup, name: str | None
) -> tuple[Params, str]:
    """Parameters of the policy `name`; by default of the distilled one, else of the last.

    Raises:
        ValueError: if the run has no such policy.
    """
    found = policies(directory, config, setup)
    if not found:
        raise ValueError(f"run is {str(directory.path)!r}: no stage of it is complete yet")
    name = name or ("distilled" if "distilled" in found else list(found)[-1])
    if name not in found:
        raise ValueError(f"policy is {name!r}: this run has {', '.join(found)}")
    store = CheckpointStore(directory.checkpoints, config.log.keep_checkpoints, warn)
    try:
        return load_params(store, found[name], setup.model, make_mesh(config.parallel)), name
    finally:
        store.close()


SPLITS = ("held_out", "training")
TRAINING_SEED = 1_000_033  # of the training problems that are drawn to choose settings on


class Subjects(NamedTuple):
    """All that an evaluation of a run is about."""

    directory: RunDirectory
    config: Experiment
    setup: Setup
    task: Task
    policy: Policy
    split: str  # "held_out" or "training"
    prompts: jax.Array  # [B, P] int32, of its problems
    checkpoint_steps: dict[str, int]  # by the policy's name
    params_of: dict[str, Params]
    units: dict[str, float]  # mean tokens of one sampled solution

    @property
    def folder(self) -> epath.Path:
        """Where results are written: those on training problems apart from those that count."""
        evaluations = self.directory.evaluations
        return evaluations if self.split == "held_out" else evaluations / self.split

    @property
    def title(self) -> str:
        """What a picture is about."""
        kind = self.split.replace("_", "-")
        return f"{self.config.name}: {len(self.prompts)} {kind} problems"


def subjects(
    run_dir: str,
    names: Sequence[str] = (),
    num_problems: int | None = None,
    data_dir: str = "",
    code: str = "",
    split: str = "held_out",
) -> Subjects:
    """The policies of a run, and problems that they are measured on.

    Args:
        names: of the policies; empty for all whose training is complete.
        num_problems: the first so many problems; None for as many as are held out.
        split: "held_out", or "training" for problems drawn as in training, none of them held out:
            on those settings are chosen.

    Raises:
        ValueError: if there is no policy, or none of a name.
    """
    directory, config, setup = open_run(run_dir, data_dir, code)
    found, policy = policies(directory, config, setup), make_policy(setup)
    if config.verifier.policy_run:
        raise ValueError(
            f"run is {run_dir!r}: it has verifiers alone: evaluate {config.verifier.policy_run} "
            f"with --verifier {run_dir}/{config.verifier.train[0]}"
        )
    if not found:
        raise ValueError(f"run is {run_dir!r}: no stage of it is complete yet")
    unknown = sorted(set(names) - set(found))
    if unknown:
        raise ValueError(f"policy is {unknown[0]!r}: this run has {', '.join(found)}")
    prompts = jnp.asarray(setup.task.held_out_prompts())
    if split == "training":
        keys = row_keys(jax.random.key(TRAINING_SEED), num_problems or len(prompts))
        prompts = jax.jit(jax.vmap(setup.task.draw_task_problem))(keys)
    prompts = prompts[:num_problems]
    params_of = {name: policy_params(directory, config, setup, name)[0] for name in names or found}
    units = {name: mean_solution_tokens(policy, p, prompts) for name, p in params_of.items()}
    return Subjects(
        directory, config, setup, setup.task, policy, split, prompts, found, params_of, units
    )


def judge_of(of: Subjects, name: str, aggregation: str = "", code: str = "") -> Verifier:
    """The verifier `name`, which must be able to judge all policies; see `open_verifier`."""
    judge = open_verifier(name, of.directory, of.config, of.setup, aggregation, code)
    check_judges(judge, list(of.params_of))
    return judge


def load_strategies(names: Sequence[str], sequential: int) -> dict[str, Strategy]:
    """All strategies before any is measured, so that a wrong name costs nobody an hour.

    Args:
        sequential: attempts of a chain, for strategies that have chains.

    Raises:
        ValueError: if there is none of a name.
    """
    loaded = {name: load_strategy(name) for name in names}
    return {
        name: dataclasses.replace(x, sequential=sequential) if isinstance(x, Revisions) else x
        for name, x in loaded.items()
    }


def evaluate(
    run_dir: str,
    strategies: Sequence[str] = (),
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    names: Sequence[str] = (),
    num_problems: int | None = None,
    verifier: str = "value_head",
    aggregation: str = "",
    oracle: bool = False,
    sequential: int = 0,
    data_dir: str = "",
    code: str = "",
    split: str = "held_out",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes `evaluations/held_out.json` and `.png` and returns their content and paths.

    Args:
        strategies, budgets, seeds: empty for those of the run's config.
        names, num_problems, split: see `subjects`.
        verifier, aggregation: judge for all strategies; see `open_verifier`.
        oracle: adds tree search with the checker inside it, an upper bound, labelled so.
        sequential: attempts of a chain of `revisions`; 0 for those of the run's config.
        report: is told one line after each result.
    """
    of = subjects(run_dir, names, num_problems, data_dir, code, split)
    defaults = of.config.evaluation
    foreign = [name for name in defaults.strategies if ":" in name]
    if not strategies and foreign:
        raise ValueError(
            f"evaluation.strategies has {foreign[0]!r}: name it with --strategies to run its code"
        )
    judge = judge_of(of, verifier, aggregation, code)
    loaded = load_strategies(strategies or defaults.strategies, sequential or defaults.sequential)
    chosen = [(name, strategy, judge) for name, strategy in loaded.items()]
    if oracle:
        chosen.append(("tree_search", load_strategy("tree_search"), Checker.of(of.task)))
    rows: list[dict[str, Any]] = []
    for name, strategy, judge in chosen:
        label = f"{name} (oracle)" if judge.oracle else name
        for size in budgets or defaults.budgets:
            results = evaluate_strategy(
                name,
                strategy,
                judge,
                of.policy,
                of.params_of,
                of.units,
                of.task,
                of.prompts,
                size,
                seeds or defaults.seeds,
            )
            rows += [{"checkpoint_step": of.checkpoint_steps[r["policy"]], **r} for r in results]
            for row in summarise(results):
                share = f"{100 * row['accuracy']:5.1f}%"
                report(f"{row['policy']:10} {label:22} budget {size:4}  {share}")
    result = {"benchmark": split, "split": of.config.task.split, "rows": rows}
    table, picture = (of.folder / f"{split}{end}" for end in (".json", ".png"))
    write_json(table, result)
    summary = summarise(rows)
    draw(summary, picture, of.title)
    return {**result, "summary": summary, "table": str(table), "picture": str(picture)}
