"""Labels of what a run's policy writes, made in parts under RUN/labels/NAME.

A part is one batch of problems, labelled on the device. Its random keys depend on the seed and on
its number alone: the same command again makes the parts that are missing, and the folder ends up
the same, bit for bit, however often it was cut off.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.data.step_ratings import read_ratings
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.split import step_ends
from rlsearch.decoding.writer import Writer
from rlsearch.measuring.opened import OpenedRun
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.strategies.candidates import Candidates, sample
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.bisection import bisection_labels
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.label_files import part_path, read_about, read_part, write_part
from rlsearch.verifiers.labels import StepLabels
from rlsearch.verifiers.monte_carlo import hard_labels, soft_labels
from rlsearch.verifiers.rated import rated_labels

KINDS = ("exact", "hard", "soft", "bisection")


class LabelSettings(NamedTuple):
    """All that decides which labels are made."""

    kind: str = "soft"  # of `KINDS`
    generations: int = 10_000  # that they may take in all, solutions and completions together
    num_problems: int = 32  # of a part
    num_rollouts: int = 8  # completions of a draft: all but exact
    num_searches: int = 8  # for a first error, a problem: bisection
    drawn: int = 1  # solutions drawn for each that is labelled: see `convincing`
    active_fraction: float = 0.8  # of the labelled ones that are the most convincing wrong ones
    verifier: str = ""  # that says which are convincing
    policy: str = ""  # empty: the run's default one
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError where they do not fit together."""
        if self.kind not in KINDS:
            raise ValueError(f"labels are {self.kind!r}: they must be {', '.join(KINDS)}")
        if self.drawn > 1 and not self.verifier:
            raise ValueError(
                f"drawn is {self.drawn}: only with a verifier can the most convincing be labelled"
            )
        if self.drawn > 1 and self.kind == "bisection":
            raise ValueError(f"drawn is {self.drawn}: bisection draws its own solutions, so give 1")


def make_labels(
    opened: OpenedRun,
    settings: LabelSettings,
    name: str = "",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes RUN/labels/NAME, or the rest of it, and returns the content of labels.json.

    Args:
        name: by default the kind of labels.
        report: is told one line after each part.

    Raises:
        ValueError: if a folder of that name has other labels, or the task has no exact ones.
    """
    settings.check()
    task = opened.task
    writer, policy_name = opened.writer(settings.policy or None)
    if settings.kind == "exact" and not hasattr(task, "step_labels"):
        raise ValueError(f"labels are 'exact': {opened.task_name} cannot label steps")
    judge: Judge = Constant()
    if settings.verifier:
        judge = opened.judge(settings.verifier, policies=(policy_name,))
    folder = opened.directory.path / "labels" / (name or settings.kind)
    about = {
        **settings._asdict(),
        "policy": policy_name,
        "checkpoint_step": opened.policies()[policy_name],
        **opened.describe_task(),
    }
    found = read_about(folder)
    if found is not None:
        for field, value in about.items():
            if found.get(field) != value:
                raise ValueError(
                    f"labels are {str(folder)!r}: there the {field} is {found.get(field)!r}, and "
                    f"now {value!r}; give another --name"
                )
        if "parts" in found:
            return {"folder": str(folder), **found}
    else:
        write_json(folder / "labels.json", about)
    label = jax.jit(lambda writer, judge, keys: draw_labels(task, writer, judge, keys, settings))
    spent, totals = 0, {"solutions": 0, "labels": 0}
    for number in itertools.count():
        path = part_path(folder, number)
        if path.exists():
            labels = read_part(path, task)
        else:
            key = jax.random.fold_in(jax.random.key(settings.seed), number)
            made = label(writer, judge, row_keys(key, settings.num_problems))
            labels = jax.tree.map(np.asarray, made)
            if settings.kind == "exact":
                values = task.step_labels(labels.prompts, labels.solutions)
                labels = labels._replace(values=values.astype(np.float32) * labels.weights)
            labels = affordable(labels, settings.generations - spent)
            write_part(path, labels)
        spent += int(labels.generations.sum())
        totals["solutions"] += len(labels.prompts)
        totals["labels"] += int((labels.weights > 0).sum())
        report(f"{totals['labels']} labels of {totals['solutions']} solutions, {spent} generations")
        if len(labels.prompts) < rows_of_a_part(settings):
            break
    if not totals["labels"]:
        raise ValueError(f"generations is {settings.generations}: one label takes more")
    result = {
        **about,
        "parts": number + 1,
        "solutions_of_a_part": rows_of_a_part(settings),
        "spent": spent,
        **totals,
    }
    write_json(folder / "labels.json", result)
    return {"folder": str(folder), **result}


def draw_labels(
    task: Task, writer: Writer, judge: Judge, keys: jax.Array, settings: LabelSettings
) -> StepLabels:
    """Draws one problem for each of `keys [B]`, which are consumed, and labels solutions of it.

    Exact labels are left at 1: they are made on the host.
    """
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 4)))
    problem_keys, draw_keys, label_keys, choice_keys = split(keys)
    prompts = jax.vmap(task.draw_task_problem)(problem_keys)
    rollouts = settings.num_rollouts
    if settings.kind == "bisection":
        return bisection_labels(task, writer, prompts, label_keys, rollouts, settings.num_searches)
    drawn = sample(writer, judge, prompts, draw_keys, settings.drawn, Sampling())
    chosen = convincing(drawn, task, prompts, choice_keys, settings.active_fraction)
    solutions = drawn.tokens[jnp.arange(len(prompts)), chosen]
    if settings.kind == "exact":
        _, present = step_ends(solutions, writer.format)
        ones = jnp.ones(prompts.shape[:1], jnp.int32)
        weights = present.astype(jnp.float32)
        labels = StepLabels(prompts, solutions, weights, weights, ones)
    else:
        labels = soft_labels(task, writer, prompts, solutions, label_keys, rollouts)
        labels = hard_labels(labels) if settings.kind == "hard" else labels
    return labels._replace(generations=labels.generations + settings.drawn - 1)


def rows_of_a_part(settings: LabelSettings) -> int:
    """Solutions of a part that nothing has cut short."""
    each = settings.num_rollouts + settings.num_searches if settings.kind == "bisection" else 1
    return settings.num_problems * each


def affordable(labels: StepLabels, generations: int) -> StepLabels:
    """The first of `labels`, on the host, that so many generations pay for."""
    number = int((np.cumsum(labels.generations) <= generations).sum())
    # Of what costs nothing, the first that cannot be paid ends it all the same; a part that is
    # paid to the end and uses up the rest leaves nothing for the next one.
    return jax.tree.map(lambda x: x[:number], labels)


def convincing(
    drawn: Candidates, task: Any, prompts: jax.Array, keys: jax.Array, fraction: float
) -> jax.Array:
    """`[B]` int32, which of the solutions drawn for a problem is labelled.

    With probability `fraction` the wrong one that the verifier scores highest, or where none is
    wrong the one that it scores highest; else the first (Lightman et al. 2023, section 2.4, which
    takes for the rest the most convincing of all).

    Args:
        drawn: n solutions of each of `prompts [B, P]`.
        keys: `[B]` typed keys, consumed.
    """
    each = jnp.swapaxes(drawn.tokens, 0, 1)
    right = jax.lax.map(lambda tokens: task.check_tokens(prompts, tokens), each).T
    rank = drawn.scores + 2.0 * ~right
    active = jax.vmap(lambda key: jax.random.bernoulli(key, fraction))(keys)
    return jnp.where(active, jnp.argmax(rank, axis=1), 0)


def import_labels(opened: OpenedRun, path: str, form: str, name: str) -> dict[str, Any]:
    """Writes RUN/labels/NAME from a file of rated solutions, as far as the run's task can say them.

    Args:
        form: of the file; see `rlsearch.data.step_ratings`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has another form, nothing that the task can say, or the folder is there.
    """
    folder = opened.directory.path / "labels" / name
    if read_about(folder) is not None:
        raise ValueError(f"labels are {str(folder)!r}: there are some already; give another --name")
    labels, dropped = rated_labels(opened.task, read_ratings(path, form))
    if not len(labels.prompts):
        raise ValueError(f"{path}: of its {dropped} solutions the task can say none")
    write_part(part_path(folder, 0), labels)
    result = {
        "kind": form,
        **opened.describe_task(),
        "parts": 1,
        "solutions_of_a_part": len(labels.prompts),
        "spent": 0,
        "solutions": len(labels.prompts),
        "labels": int((labels.weights > 0).sum()),
        "dropped": dropped,
    }
    write_json(folder / "labels.json", result)
    return {"folder": str(folder), **result}
