"""The suite of verifiers: how well they judge, and what they make of N samples.

All verifiers see the same solutions, drawn once. What they say of steps is held against exact
labels; what they say of solutions decides best-of-N and weighted best-of-N, beside the majority
vote, which asks none, and the share of problems of which any sample is right, which is the most
that there is to reach. Curves over N are means over random subsets of the samples, as in PRM800K's
evaluation (400 of them, Lightman et al. 2023).

Letters: Q problems, n samples of each, S steps, T tokens.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.steps import finished, sample_solutions, step_ends
from rlsearch.measuring.accuracy import answer_flops, verifier_flops, wilson_interval
from rlsearch.measuring.calibration import quality, reliability
from rlsearch.measuring.evaluate import Subjects, judge_of, subjects
from rlsearch.measuring.judges import training_of
from rlsearch.measuring.pass_at_k import pass_at_k
from rlsearch.networks.language_model import Params
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.runs.parameters import warn
from rlsearch.strategies.vote import first_best, vote
from rlsearch.studies.verifiers_picture import draw
from rlsearch.verifiers.aggregate import aggregate
from rlsearch.verifiers.base import Verifier
from rlsearch.verifiers.labels import Writer
from rlsearch.verifiers.monte_carlo import prefix_of, read_solutions
from rlsearch.verifiers.network import NetworkVerifier

SUBSETS = 400  # of the samples, over which a curve is a mean

Row = dict[str, Any]


class Samples(NamedTuple):
    """Solutions of all problems, and what is true of them."""

    tokens: np.ndarray  # [Q, n, T] int32
    answers: np.ndarray  # [Q, n] int32, -1 where there is none
    right: np.ndarray  # [Q, n] bool
    present: np.ndarray  # [Q, n, S] bool, which steps there are
    labels: np.ndarray | None  # [Q, n, S] bool, exact; None where the task has none


class Scores(NamedTuple):
    """What a verifier says of samples."""

    steps: np.ndarray  # [Q, n, S] float32; 1 where there is no step
    solutions: np.ndarray  # [Q, n] float32; -1 for what is not finished
    tokens: np.ndarray  # [Q, n] int32, that it reads of each solution, the prompt apart
    prompt_tokens: int  # that it reads once a problem


def run_verifier_suite(
    run_dir: str,
    verifiers: Sequence[str] = (),
    budgets: Sequence[int] = (),
    seed: int = 0,
    policy_name: str = "",
    num_problems: int | None = None,
    aggregation: str = "",
    data_dir: str = "",
    code: str = "",
    split: str = "held_out",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes `evaluations/verifiers.json` and `.png`, and returns their content and paths.

    Args:
        verifiers: empty for the policy's value head and all that the run has trained.
        budgets: N; empty for those of the run's config.
        seed: of the samples and subsets.
        policy_name: whose samples; empty for the one that the run's verifiers were trained on.
        num_problems, data_dir, code, split: see `subjects`.
        aggregation: see `open_verifier`.
        report: is told one line after each result.
    """
    of = subjects(run_dir, [], num_problems, data_dir, code, split)
    policy_name = policy_name or of.config.verifier.policy
    if policy_name not in of.params_of:
        raise ValueError(f"policy is {policy_name!r}: this run has {', '.join(of.params_of)}")
    params = of.params_of[policy_name]
    of = of._replace(params_of={policy_name: params})
    budgets = sorted(budgets or of.config.evaluation.budgets)
    names = list(verifiers) or ["value_head", *of.config.verifier.train]
    judges = {name: judge_of(of, name, aggregation, code) for name in names}
    samples = draw_samples(of, params, budgets[-1], seed)
    common = {
        "policy": policy_name,
        "checkpoint_step": of.checkpoint_steps[policy_name],
        "seed": seed,
        "problems": len(of.prompts),
    }
    rows: list[Row] = []
    qualities: list[Row] = []
    for label, verifier in [("majority", None), *judges.items()]:
        began = time.monotonic()
        scores = None if verifier is None else judge(of, params, verifier, samples)
        seconds = time.monotonic() - began
        for strategy, budget, accuracy in curves(samples, scores, budgets, seed):
            rows.append(
                {
                    **common,
                    "strategy": strategy,
                    **row_of(of, verifier, samples, scores, budget, accuracy, seconds),
                }
            )
            report(f"{label:18} {strategy:20} N {budget:4}  {100 * accuracy:5.1f}%")
        if scores is not None:
            found = judged(samples, scores)
            training = training_of(label, of.config, code)
            qualities.append({"verifier": label, **training, **found})
            report(describe(label, found))
    result = {"benchmark": "verifiers", "rows": rows, "verifiers": qualities}
    table, picture = (of.folder / f"verifiers{end}" for end in (".json", ".png"))
    write_json(table, result)
    draw(rows, qualities, picture, of.title)
    return {**result, "table": str(table), "picture": str(picture)}


def draw_samples(of: Subjects, params: Params, number: int, seed: int) -> Samples:
    """`number` samples of every problem, and the truth about them."""
    keys = row_keys(jax.random.key(seed), len(of.prompts))
    form = of.policy.form

    @jax.jit
    def one(params: Params, sample: jax.Array):
        sample_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, sample)
        prefix, _ = sample_solutions(of.policy.model, params, of.prompts, sample_keys, form)
        answers = jnp.where(
            finished(prefix, form), of.policy.answers(of.prompts, prefix.tokens), -1
        )
        right = of.task.check_tokens(of.prompts, prefix.tokens)
        return prefix.tokens, answers, right, step_ends(prefix.tokens, form)[1]

    each = [one(params, jnp.int32(sample)) for sample in range(number)]
    tokens, answers, right, present = (
        np.stack([np.asarray(x) for x in column], axis=1) for column in zip(*each, strict=True)
    )
    labels = None
    if hasattr(of.task, "step_labels"):
        prompts = np.repeat(np.asarray(of.prompts), number, axis=0)
        labels = of.task.step_labels(prompts, tokens.reshape(-1, tokens.shape[-1]))
        labels = labels.reshape(present.shape)
    return Samples(tokens, answers, right, present, labels)


def judge(of: Subjects, params: Params, verifier: Verifier, samples: Samples) -> Scores:
    """What a verifier says of samples that are there already.

    A score that is no number counts as 0.
    """
    form, writer = of.policy.form, Writer(of.task, of.policy.model, of.policy.form)

    @jax.jit
    def one(params: Params, verifier: Any, tokens: jax.Array):
        if isinstance(verifier, NetworkVerifier):
            scores, read = verifier.step_scores(of.prompts, tokens, form)
            return scores, read - of.prompts.shape[1]
        read = read_solutions(writer, params, of.prompts, tokens)

        def score(step: jax.Array):
            prefix = prefix_of(read, jnp.full(len(of.prompts), step), form)
            found = verifier.score(of.policy.model, params, of.prompts, prefix, form)
            return found, verifier.tokens(of.prompts, prefix)

        scores, paid = jax.lax.map(score, jnp.arange(1, form.num_steps + 1))
        there = step_ends(tokens, form)[1]
        return jnp.where(there, scores.T, 1.0), jnp.where(there, paid.T, 0).sum(axis=1)

    each = [one(params, verifier, jnp.asarray(tokens)) for tokens in samples.tokens.swapaxes(0, 1)]
    steps, tokens = (
        np.stack([np.asarray(x) for x in column], 1) for column in zip(*each, strict=True)
    )
    bad = np.isnan(steps) & samples.present
    if bad.any():
        warn(
            f"verifier {verifier.label!r} gave {bad.sum()} scores that are no numbers, in "
            f"{bad.any(axis=(1, 2)).sum()} of {len(bad)} problems: they count as 0"
        )
    steps = np.clip(np.nan_to_num(steps, nan=0.0), 0.0, 1.0)
    solutions = aggregate(jnp.asarray(steps), samples.present.sum(axis=2), verifier.aggregation)
    solutions = np.where(samples.answers >= 0, np.asarray(solutions), -1.0)
    own = of.prompts.shape[1] if isinstance(verifier, NetworkVerifier) else 0
    return Scores(steps, solutions, tokens, own)


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


def row_of(
    of: Subjects,
    verifier: Verifier | None,
    samples: Samples,
    scores: Scores | None,
    budget: int,
    accuracy: float,
    seconds: float,
) -> Row:
    """What the tables of all evaluations say of a result, for N = `budget`."""
    problems, number = samples.right.shape
    lengths = (samples.tokens != of.policy.form.pad).sum(axis=2)
    policy_tokens = float(lengths.mean() * budget)
    read = 0.0 if scores is None else float(scores.tokens.mean() * budget + scores.prompt_tokens)
    return {
        "settings": {"samples": number, "subsets": 1 if budget == number else SUBSETS},
        "verifier": "none" if verifier is None else verifier.label,
        "oracle": verifier is not None and verifier.oracle,
        "budget": budget,
        "accuracy": accuracy,
        "ci95": list(wilson_interval(accuracy * problems, problems)),
        "generations": float(budget),
        "prompt_tokens": of.task.prompt_length,
        "policy_tokens": policy_tokens,
        "verifier_tokens": read,
        "context_tokens": 0.0,
        "flops": answer_flops(of.policy, of.task, policy_tokens)
        + verifier_flops(verifier, of.policy, of.task, read),
        "seconds": seconds,
    }


def judged(samples: Samples, scores: Scores) -> Row:
    """How good the scores of solutions are, and those of steps against exact labels."""
    done = samples.answers >= 0
    result: Row = {"solutions": quality(scores.solutions[done], samples.right[done])}
    if samples.labels is not None:
        said, true = scores.steps[samples.present], samples.labels[samples.present]
        result["steps"] = {**quality(said, true), "reliability": reliability(said, true)}
    return result


def describe(label: str, found: Row) -> str:
    """A line about a verifier."""
    if "steps" not in found:
        return f"{label:18} no exact labels of steps"
    steps = found["steps"]
    auc = "none" if steps["auc"] is None else f"{steps['auc']:.3f}"
    return (
        f"{label:18} steps: accuracy {100 * steps['accuracy']:.1f}%, AUC {auc}, "
        f"calibration error {steps['calibration_error']:.3f}"
    )
