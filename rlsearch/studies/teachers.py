"""Searches that teach: the problems that they solve, and how many ways, beside plain samples.

Before a teacher is ahead of as many tokens of plain samples on the same training problems, no
target made of it can be worth its compute. The search is that of the run's first stage that has
one, with the checker as in training, and its first tree of a problem. Samples are drawn as the
search draws, as many of a problem as its own search took tokens for.

Beside it stands what a pupil is measured by: the mean accuracy of single samples, and how well its
own value head tells right steps from wrong ones of the same problem, at each step number.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import SearchConfig
from rlsearch.decoding.sampling import Sampling
from rlsearch.keys import folded
from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.measuring.examination import Contestant, Examination, examine
from rlsearch.measuring.measure import in_parts
from rlsearch.measuring.opened import OpenedRun
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.search.search import search
from rlsearch.search.summary import first_finished, outcomes
from rlsearch.studies.base import Report, check_extent, silent
from rlsearch.studies.verifiers import draw_samples, judged, score
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.value_head import ValueHead

AT_ONCE = 128  # problems that are searched at once
SAMPLES = 32  # of a problem, by which a policy and its value head are measured
RESAMPLES = 2000  # of the problems, for an interval


@dataclasses.dataclass(frozen=True)
class Teachers:
    """Writes `evaluations/training/teachers.json`."""

    policies: tuple[str, ...] = ()  # that search; empty: all that are complete
    problems: int | None = 500  # training problems
    seed: int = 0  # of searches and samples
    split: str = "training"  # see `examine`

    def __post_init__(self):
        check_extent(self)

    def run(self, opened: OpenedRun, report: Report = silent) -> dict[str, Any]:
        """See `Study.run`."""
        name, config = self._search(opened)
        examination, contestants = examine(opened, self.policies, self.problems, self.split)
        rows = []
        for contestant in contestants:
            found = compared(contestant, examination, config, self.seed)
            row = {"policy": contestant.name, "stage": name, **described(found)}
            row |= of_samples(contestant, examination, self.seed)
            rows.append(row)
            report(in_words(row))
        result = {"benchmark": "teachers", "search": dataclasses.asdict(config), "rows": rows}
        table = examination.folder / "teachers.json"
        write_json(table, result)
        return {**result, "table": str(table)}

    def _search(self, opened: OpenedRun) -> tuple[str, SearchConfig]:
        for stage in opened.config.stages:
            if hasattr(stage, "search"):
                return stage.name, stage.search
        raise ValueError(f"run is {opened.path!r}: none of its stages searches")


class Found(NamedTuple):
    """Right solutions of a teacher, and of as many tokens of plain samples; leaves `[Q]`."""

    searched: np.ndarray  # int, different right solutions
    sampled: np.ndarray  # int
    finished: np.ndarray  # int, solutions that the tree finished
    samples: np.ndarray  # int, plain samples
    tokens: np.ndarray  # int, of the search


def compared(
    contestant: Contestant, examination: Examination, config: SearchConfig, seed: int
) -> Found:
    """Searches every problem, and samples for as many tokens."""
    task, writer = examination.task, contestant.writer
    longest = config.max_tokens or config.num_simulations * writer.format.max_step_length
    # Twice as many as pay for mean solutions: some problems have shorter ones.
    number = int(2 * longest / contestant.unit)
    sampling = Sampling(config.temperature, config.min_p)

    @jax.jit
    def both(writer, prompts: jax.Array, keys: jax.Array):
        first, critic = writer.start(prompts), Checker.of_whole(task, writer.format)
        split = jax.vmap(lambda key: tuple(jax.random.split(key)))
        search_keys, sample_keys = split(keys)
        grown = search(writer, critic, first, Memory(), search_keys, config).grown
        tree, format = grown.tree, writer.format
        done, lines = first_finished(tree, format), tree.embeddings.line.tokens
        right = done & (outcomes(tree, format) == 1.0)

        def one(sample: jax.Array):
            own = folded(sample_keys, sample)
            line = writer.write(first, own, sampling)[0].line
            return line.tokens, line.length, critic.check(prompts, line.tokens)

        tokens, lengths, correct = jax.lax.map(one, jnp.arange(number))
        paid = jnp.cumsum(lengths, axis=0) <= grown.tokens
        samples = jnp.swapaxes(tokens, 0, 1)
        return (
            distinct(lines, right),
            distinct(samples, (correct & paid).T),
            done.sum(axis=1),
            paid.sum(axis=0),
            grown.tokens,
        )

    prompts = examination.prompts
    keys = row_keys(jax.random.key(seed), len(prompts))
    parts = [both(writer, prompts[part], keys[part]) for part in in_parts(len(prompts), AT_ONCE)]
    return Found(*(np.concatenate(x)[: len(prompts)] for x in zip(*parts, strict=True)))


def distinct(tokens: jax.Array, chosen: jax.Array) -> jax.Array:
    """Counts `[B]` the different ones among the `chosen [B, n]` of `tokens [B, n, T]`."""

    def of_one(tokens: jax.Array, chosen: jax.Array) -> jax.Array:
        same = (tokens[:, None] == tokens[None]).all(axis=2) & chosen[None]
        earlier = jnp.tril(same, -1).any(axis=1)
        return (chosen & ~earlier).sum()

    return jax.lax.map(lambda x: of_one(*x), (tokens, chosen))


def described(found: Found) -> dict[str, Any]:
    """The figures of a comparison, with 95% intervals over problems."""
    number = len(found.tokens)
    searched, sampled = found.searched > 0, found.sampled > 0
    draws = np.random.default_rng(0).integers(0, number, (RESAMPLES, number))

    def ratio(one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
        each = one[draws].sum(axis=1) / np.maximum(other[draws].sum(axis=1), 1)
        low, high = np.percentile(each, [2.5, 97.5])
        return {"ratio": one.sum() / max(other.sum(), 1), "ci95": [float(low), float(high)]}

    def share(solved: np.ndarray) -> dict[str, Any]:
        return {"share": float(solved.mean()), "ci95": list(wilson_interval(solved.sum(), number))}

    return {
        "problems": number,
        "tokens": float(found.tokens.mean()),
        "solved": share(searched),
        "solved_by_samples": share(sampled),
        "solved_over_samples": ratio(searched.astype(int), sampled.astype(int)),
        "right_solutions": float(found.searched.mean()),
        "right_samples": float(found.sampled.mean()),
        "right_over_samples": ratio(found.searched, found.sampled),
        "finished": float(found.finished.mean()),
        "samples": float(found.samples.mean()),
    }


def of_samples(contestant: Contestant, examination: Examination, seed: int) -> dict[str, Any]:
    """The accuracy of single samples at temperature 1, with a 95% interval over problems, and the
    AUC of the value head within a problem at each step number (none where the task has no exact
    labels of steps)."""
    samples = draw_samples(contestant, examination, SAMPLES, seed)
    each = samples.right.mean(axis=1)
    draws = np.random.default_rng(0).integers(0, len(each), (RESAMPLES, len(each)))
    low, high = np.percentile(each[draws].mean(axis=1), [2.5, 97.5])
    accuracy = {"share": float(each.mean()), "ci95": [float(low), float(high)]}
    steps = judged(samples, score(contestant, examination, ValueHead(), samples)).get("steps")
    return {"sample_accuracy": accuracy, "auc_by_step": steps and steps["auc_by_step"]}


def in_words(row: dict[str, Any]) -> str:
    """A line about one policy."""
    times = row["solved_over_samples"]
    low, high = times["ci95"]
    searched, sampled = row["solved"]["share"], row["solved_by_samples"]["share"]
    aucs = ["none" if x is None else f"{x:.2f}" for x in row["auc_by_step"] or []]
    return (
        f"{row['policy']:10} {row['tokens']:5.0f} tokens  searching solves {100 * searched:5.1f}%, "
        f"samples {100 * sampled:.1f}% ({times['ratio']:.2f}, {low:.2f} to {high:.2f})  right "
        f"solutions {row['right_solutions']:.2f}, samples {row['right_samples']:.2f}  one sample "
        f"{100 * row['sample_accuracy']['share']:.1f}%  AUC of steps {' '.join(aucs) or 'none'}"
    )
