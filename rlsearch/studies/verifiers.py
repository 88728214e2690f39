"""The suite of verifiers: how well they judge, and what they make of N samples.

All verifiers see the same solutions, drawn once. What they say of steps is held against exact
labels; what they say of solutions decides best-of-N and weighted best-of-N, beside the majority
vote, which asks none, and the share of problems of which any sample is right, which is the most
that there is to reach. Curves over N are means over random subsets of the samples, as in PRM800K's
evaluation (400 of them, Lightman et al. 2023).

Letters: Q problems, n samples of each, S steps, T tokens.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.split import step_ends
from rlsearch.keys import folded
from rlsearch.measuring.accuracy import Row
from rlsearch.measuring.calibration import quality, reliability, step_quality
from rlsearch.measuring.examination import Contestant, Examination, examine
from rlsearch.measuring.opened import OpenedRun
from rlsearch.measuring.pass_at_k import pass_at_k
from rlsearch.measuring.rows import Costs, Result, row_of
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.runs.parameters import warn
from rlsearch.strategies.vote import first_best, vote
from rlsearch.studies.base import Report, check_extent, silent
from rlsearch.studies.verifiers_picture import draw
from rlsearch.verifiers.aggregate import aggregate
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.monte_carlo import first_steps, read_solutions
from rlsearch.verifiers.network import NetworkVerifier, prompt_tokens

SUBSETS = 400  # of the samples, over which a curve is a mean


@dataclasses.dataclass(frozen=True)
class Verifiers:
    """Writes `evaluations/verifiers.json` and `.png`."""

    verifiers: tuple[str, ...] = ()  # empty: the policy's value head and all that the run trains
    budgets: tuple[int, ...] = ()  # N; empty: those of the run's config
    seed: int = 0  # of the samples and subsets
    policy: str = ""  # that writes the samples; empty: the one that the verifiers were trained on
    problems: int | None = None  # so many, see `examine`; None: as many as are held out
    aggregation: str = ""  # of the scores of steps; empty: each verifier's own
    split: str = "held_out"  # see `examine`

    def __post_init__(self):
        check_extent(self)

    def run(self, opened: OpenedRun, report: Report = silent) -> dict[str, Any]:
        """See `Study.run`."""
        policy = self.policy or opened.judged_policy()
        examination, (contestant,) = examine(opened, (policy,), self.problems, self.split)
        budgets = sorted(self.budgets or opened.defaults.budgets)
        names = self.verifiers or ("value_head", *opened.verifiers())
        judges = {name: opened.judge(name, self.aggregation, (policy,)) for name in names}
        samples = draw_samples(contestant, examination, budgets[-1], self.seed)
        rows: list[Row] = []
        qualities: list[Row] = []
        for label, judge in [("majority", None), *judges.items()]:
            began = time.monotonic()
            scores = None if judge is None else score(contestant, examination, judge, samples)
            seconds = time.monotonic() - began
            for strategy, budget, accuracy in curves(samples, scores, budgets, self.seed):
                result = result_of(contestant, samples, scores, budget, accuracy, seconds)
                rows.append(row_of(strategy, contestant, judge, examination, self.seed, result))
                report(f"{label:18} {strategy:20} N {budget:4}  {100 * accuracy:5.1f}%")
            if scores is not None:
                found = judged(samples, scores)
                qualities.append({"verifier": label, **opened.training_of(label), **found})
                report(describe(label, found))
        result = {"benchmark": "verifiers", "rows": rows, "verifiers": qualities}
        table, picture = (examination.folder / f"verifiers{end}" for end in (".json", ".png"))
        write_json(table, result)
        draw(rows, qualities, picture, examination.title)
        return {**result, "table": str(table), "picture": str(picture)}


class Samples(NamedTuple):
    """Solutions of all problems, and the truth about them."""

    tokens: np.ndarray  # [Q, n, T] int32
    answers: np.ndarray  # [Q, n] int32, -1 where there is none
    right: np.ndarray  # [Q, n] bool
    present: np.ndarray  # [Q, n, S] bool, which steps there are
    labels: np.ndarray | None  # [Q, n, S] bool, exact; None where the task has none


class Scores(NamedTuple):
    """The scores that a verifier gives samples."""

    steps: np.ndarray  # [Q, n, S] float32; 1 where there is no step
    solutions: np.ndarray  # [Q, n] float32; -1 for what is not finished
    tokens: np.ndarray  # [Q, n] int32, that it reads of each solution, the prompt apart
    prompt_tokens: float  # that it reads once a problem


def draw_samples(
    contestant: Contestant, examination: Examination, number: int, seed: int
) -> Samples:
    """`number` samples of every problem, and the truth about them."""
    prompts, task = examination.prompts, examination.task
    keys = row_keys(jax.random.key(seed), len(prompts))

    @jax.jit
    def one(writer, sample: jax.Array):
        sample_keys = folded(keys, sample)
        draft, _ = writer.sample(prompts, sample_keys)
        tokens = draft.line.tokens
        answers = jnp.where(writer.finished(draft), writer.policy.answers(prompts, tokens), -1)
        right = task.check_tokens(prompts, tokens)
        return tokens, answers, right, step_ends(tokens, writer.format)[1]

    each = [one(contestant.writer, jnp.int32(sample)) for sample in range(number)]
    tokens, answers, right, present = (
        np.stack([np.asarray(x) for x in column], axis=1) for column in zip(*each, strict=True)
    )
    labels = None
    if hasattr(task, "step_labels"):
        each_prompt = np.repeat(np.asarray(prompts), number, axis=0)
        labels = task.step_labels(each_prompt, tokens.reshape(-1, tokens.shape[-1]))
        labels = labels.reshape(present.shape)
    return Samples(tokens, answers, right, present, labels)


def score(
    contestant: Contestant, examination: Examination, judge: Judge, samples: Samples
) -> Scores:
    """The scores of samples that are there already.

    A score that is no number counts as 0.
    """
    prompts = examination.prompts

    @jax.jit
    def one(writer, judge: Any, tokens: jax.Array):
        format = writer.format
        if isinstance(judge, NetworkVerifier):
            scores, read = judge.step_scores(prompts, tokens, format)
            return scores, read - prompt_tokens(prompts)
        solutions = read_solutions(writer, prompts, tokens)

        def score_step(step: jax.Array):
            draft = first_steps(solutions, jnp.full(len(prompts), step), format)
            return judge.score(writer, draft), judge.tokens(draft)

        scores, paid = jax.lax.map(score_step, jnp.arange(1, format.num_steps + 1))
        there = step_ends(tokens, format)[1]
        return jnp.where(there, scores.T, 1.0), jnp.where(there, paid.T, 0).sum(axis=1)

    each = [
        one(contestant.writer, judge, jnp.asarray(tokens))
        for tokens in samples.tokens.swapaxes(0, 1)
    ]
    steps, tokens = (
        np.stack([np.asarray(x) for x in column], 1) for column in zip(*each, strict=True)
    )
    bad = np.isnan(steps) & samples.present
    if bad.any():
        warn(
            f"verifier {judge.label!r} gave {bad.sum()} scores that are no numbers, in "
            f"{bad.any(axis=(1, 2)).sum()} of {len(bad)} problems: they count as 0"
        )
    steps = np.clip(np.nan_to_num(steps, nan=0.0), 0.0, 1.0)
    solutions = aggregate(jnp.asarray(steps), samples.present.sum(axis=2), judge.aggregation)
    solutions = np.where(samples.answers >= 0, np.asarray(solutions), -1.0)
    own = prompt_tokens(prompts).mean() if isinstance(judge, NetworkVerifier) else 0.0
    return Scores(steps, solutions, tokens, float(own))


def curves(
    samples: Samples, scores: Scores | None, budgets: Sequence[int], seed: int
) -> list[tuple[str, int, float]]:
    """Strategy, N and accuracy: of what needs no verifier, or of what one makes of the samples."""
    found = []
    for budget in budgets:
        if scores is None:
            ones = np.ones_like(samples.right, np.float32)
            found.append(("self_consistency", budget, voted(samples, ones, budget, seed)))
            most = pass_at_k(samples.right.shape[1], samples.right.sum(axis=1), budget).mean()
            found.append(("pass_at_n", budget, float(most)))
        else:
            found.append(("best_of_n", budget, best(samples, scores.solutions, budget, seed)))
            weights = np.maximum(scores.solutions, 0.0)
            accuracy = voted(samples, weights, budget, seed)
            found.append(("weighted_best_of_n", budget, accuracy))
    return found


def subsets(samples: Samples, budget: int, seed: int) -> np.ndarray:
    """`[subsets, Q, N]` int, places of samples in their order; all there are where N is n."""
    problems, number = samples.right.shape
    if budget == number:
        return np.broadcast_to(np.arange(number), (1, problems, number))
    random = np.random.default_rng((seed, budget))
    order = random.random((SUBSETS, problems, number), np.float32).argsort(axis=2)
    return np.sort(order[:, :, :budget], axis=2)


def best(samples: Samples, scores: np.ndarray, budget: int, seed: int) -> float:
    """Accuracy of the sample with the highest score."""
    rows = np.arange(len(scores))[:, None]
    total = 0.0
    places = subsets(samples, budget, seed)
    for chosen in places:
        at = chosen[rows[:, 0], scores[rows, chosen].argmax(axis=1)]
        total += samples.right[rows[:, 0], at].mean()
    return total / len(places)


def voted(samples: Samples, weights: np.ndarray, budget: int, seed: int) -> float:
    """Accuracy of the answer with the largest total weight."""
    rows = np.arange(len(weights))[:, None]

    @jax.jit
    def choose(answers: jax.Array, weights: jax.Array) -> jax.Array:
        return first_best(vote(answers, weights), weights)

    total = 0.0
    places = subsets(samples, budget, seed)
    for chosen in places:
        taken = choose(samples.answers[rows, chosen], weights[rows, chosen])
        total += samples.right[rows[:, 0], chosen[rows[:, 0], np.asarray(taken)]].mean()
    return total / len(places)


def result_of(
    contestant: Contestant,
    samples: Samples,
    scores: Scores | None,
    budget: int,
    accuracy: float,
    seconds: float,
) -> Result:
    """An accuracy with N = `budget`, and what that many samples cost."""
    problems, number = samples.right.shape
    lengths = (samples.tokens != contestant.writer.format.pad).sum(axis=2)
    read = 0.0 if scores is None else float(scores.tokens.mean() * budget + scores.prompt_tokens)
    return Result(
        settings={"samples": number, "subsets": 1 if budget == number else SUBSETS},
        budget=budget,
        solved=accuracy * problems,
        problems=problems,
        costs=Costs(float(budget), float(lengths.mean() * budget), read),
        seconds=seconds,
    )


def judged(samples: Samples, scores: Scores) -> Row:
    """Measures how good the scores of solutions are, and those of steps against exact labels."""
    done = samples.answers >= 0
    result: Row = {"solutions": quality(scores.solutions[done], samples.right[done])}
    if samples.labels is not None:
        said, true = scores.steps[samples.present], samples.labels[samples.present]
        result["steps"] = {
            **step_quality(scores.steps, samples.labels, samples.present),
            "reliability": reliability(said, true),
        }
    return result


def describe(label: str, found: Row) -> str:
    """A line about a verifier."""
    if "steps" not in found:
        return f"{label:18} no exact labels of steps"
    steps = found["steps"]
    auc = "none" if steps["auc"] is None else f"{steps['auc']:.3f}"
    share = "none" if steps["accuracy"] is None else f"{100 * steps['accuracy']:.1f}%"
    return (
        f"{label:18} steps: accuracy {share}, AUC within a problem {auc}, "
        f"calibration error {steps['calibration_error']:.3f}"
    )
