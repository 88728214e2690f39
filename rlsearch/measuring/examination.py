"""An examination: the problems that policies are measured on, and who sits it."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from rlsearch.decoding.writer import Writer
from rlsearch.measuring.opened import OpenedRun
from rlsearch.parallel.mesh import row_keys
from rlsearch.strategies.base import Budget
from rlsearch.tasks.base import Task

SPLITS = ("held_out", "training")
SUBSET_SEED = 0  # of the problems that stand for all
TRAINING_SEED = 1_000_033  # of the training problems that are drawn to choose settings on


@dataclasses.dataclass(frozen=True, eq=False)
class Examination:
    """Problems, and where what comes of them is written."""

    task: Task
    split: str  # of `SPLITS`
    prompts: jax.Array  # [B, P] int32
    folder: epath.Path  # results on training problems lie apart from those that count
    title: str  # of pictures


@dataclasses.dataclass(frozen=True, eq=False)
class Contestant:
    """A policy with its weights."""

    name: str
    step: int  # of its checkpoint
    writer: Writer
    unit: float  # mean tokens of one sampled solution

    def budget(self, solutions: int) -> Budget:
        """An allowance of so many sampled solutions."""
        return Budget(solutions, round(solutions * self.unit))


def examine(
    opened: OpenedRun, names: Sequence[str], num_problems: int | None, split: str
) -> tuple[Examination, tuple[Contestant, ...]]:
    """The policies of a run, and the problems that they are measured on.

    Args:
        names: of the policies; empty for all whose training is complete.
        num_problems: so many problems, drawn from those held out once and for all; None for as
            many as are held out.
        split: "held_out", or "training" for problems drawn as in training, none of them held out:
            on those settings are chosen.

    Raises:
        ValueError: if there is no policy, or none of a name.
    """
    if opened.policies_run():
        raise ValueError(
            f"run is {opened.path!r}: it has verifiers alone: evaluate {opened.policies_run()} "
            f"with --verifier {opened.path}/{opened.verifiers()[0]}"
        )
    steps, task = opened.complete_policies(names), opened.task
    prompts = jnp.asarray(task.held_out_prompts())
    if split == "training":
        keys = row_keys(jax.random.key(TRAINING_SEED), num_problems or len(prompts))
        prompts = jax.jit(jax.vmap(task.draw_task_problem))(keys)
    if num_problems is not None:
        prompts = prompts[_some(len(prompts), num_problems)]
    folder = opened.directory.evaluations
    examination = Examination(
        task=task,
        split=split,
        prompts=prompts,
        folder=folder if split == "held_out" else folder / split,
        title=f"{opened.title}: {len(prompts)} {split.replace('_', '-')} problems",
    )
    unit = jax.jit(mean_solution_tokens)
    contestants = []
    for name, step in steps.items():
        writer, _ = opened.writer(name)
        contestants.append(Contestant(name, step, writer, float(unit(writer, prompts))))
    return examination, tuple(contestants)


def _some(number: int, wanted: int) -> np.ndarray:
    """`[min(number, wanted)]` int, ascending places: held-out problems lie in their own order, in
    which the first are no sample of all. More of them have fewer among them."""
    order = np.random.default_rng(SUBSET_SEED).permutation(number)
    return np.sort(order[:wanted])


def mean_solution_tokens(writer: Writer, prompts: jax.Array) -> jax.Array:
    """`[]` float32, mean policy tokens of one sampled solution: the unit of every budget."""
    draft, _ = writer.sample(prompts, row_keys(jax.random.key(0), len(prompts)))
    return draft.line.length.mean()
