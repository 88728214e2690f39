"""Accuracy of strategies on held-out problems, against what they spend.

The policy, the strategy and the critic see tokens alone. The checker is asked once, about the one
answer of each problem, after the search is over.
"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.steps import sample_solutions
from rlsearch.networks.flops import flops_per_token
from rlsearch.networks.language_model import Params
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.parameters import warn
from rlsearch.strategies.base import Budget, Policy, Solutions, Strategy
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Verifier
from rlsearch.verifiers.network import NetworkVerifier

Row = dict[str, Any]

MAX_DRAFTS = 8192  # solutions in the making at once: each keeps its own keys and values


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    z, share = 1.959964, successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Rounding must not leave the share itself outside, where it is 0 or 1.
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def mean_solution_tokens(policy: Policy, params: Params, prompts: jax.Array) -> float:
    """Mean policy tokens of one sampled solution: the unit of every budget."""
    sample = jax.jit(
        lambda params, keys: sample_solutions(policy.model, params, prompts, keys, policy.form)[
            0
        ].length.mean()
    )
    return float(sample(params, row_keys(jax.random.key(0), prompts.shape[0])))


class Measured(NamedTuple):
    """What a strategy made of every problem, under every seed."""

    settings: dict[str, Any]
    right: np.ndarray  # [seeds, problems] bool
    generations: np.ndarray  # [seeds, problems]
    policy_tokens: np.ndarray  # [seeds, problems]
    verifier_tokens: np.ndarray  # [seeds, problems]
    context_tokens: np.ndarray  # [seeds, problems]
    contexts: np.ndarray  # [seeds, problems]
    seconds: float  # of each seed on average, compilation left out


def measure(
    strategy: Strategy,
    verifier: Verifier,
    policy: Policy,
    params_of: Mapping[str, Params],
    units: Mapping[str, float],
    task: Task,
    prompts: jax.Array,
    solutions: int,
    seeds: Sequence[int],
) -> dict[str, Measured]:
    """Solves all problems, under all seeds, with each policy that the budget suffices for.

    They are one batch, or where that would hold more than `MAX_DRAFTS` solutions in the making at
    once, batches of equal size: what a problem's answer is does not depend on its batch.

    Args:
        params_of: parameters by the policy's name.
        units: mean tokens of one sampled solution, by the policy's name.
        solutions: the budget, in sampled solutions.
    """
    compiled, found = {}, {}
    batch = jnp.tile(prompts, (len(seeds), 1))
    keys = jnp.concatenate([row_keys(jax.random.key(seed), len(prompts)) for seed in seeds])
    parts = in_parts(len(batch), MAX_DRAFTS // solutions)
    for name, params in params_of.items():
        budget = Budget(solutions, round(solutions * units[name]))
        settings = strategy.settings(policy, budget)
        if settings is None:
            continue
        if budget not in compiled:
            solve = jax.jit(
                lambda params, verifier, prompts, keys, b=budget: _answers(
                    strategy.solve(policy, params, verifier, prompts, keys, b)
                )
            )
            first = batch[parts[0]], keys[parts[0]]
            compiled[budget] = solve.lower(params, verifier, *first).compile()
        began = time.monotonic()
        each = [compiled[budget](params, verifier, batch[part], keys[part]) for part in parts]
        tokens, *costs, bad = (np.concatenate(x)[: len(batch)] for x in zip(*each, strict=True))
        warn_of_bad_scores(verifier, bad)
        seconds = (time.monotonic() - began) / len(seeds)
        costs = [cost.reshape(len(seeds), -1) for cost in costs]
        right = np.asarray(task.check_tokens(batch, jnp.asarray(tokens)))
        found[name] = Measured(
            settings=settings,
            right=right.reshape(len(seeds), -1),
            generations=costs[0],
            policy_tokens=costs[1],
            verifier_tokens=costs[2],
            context_tokens=costs[3],
            contexts=costs[4],
            seconds=seconds,
        )
    return found


def _answers(solved: Solutions) -> tuple[jax.Array, ...]:
    """What is kept of each problem: the answer, what it cost, and how many scores were bad."""
    costs = solved.generations, solved.policy_tokens, solved.verifier_tokens
    rest = solved.context_tokens, solved.contexts, solved.bad_scores
    return solved.tokens, *costs, *(jnp.broadcast_to(x, solved.score.shape) for x in rest)


def warn_of_bad_scores(verifier: Verifier, bad: np.ndarray) -> None:
    """Tells of scores that were no numbers, of which there are `bad [problems]`."""
    if bad.any():
        warn(
            f"verifier {verifier.label!r} gave {bad.sum()} scores that are no numbers, in "
            f"{(bad > 0).sum()} of {len(bad)} problems: they count as 0"
        )


def in_parts(number: int, largest: int) -> np.ndarray:
    """`[parts, size]` int, the places 0 to `number` in parts of equal size; the last is repeated.

    No part is larger than `largest`, or than 1 where that is smaller.
    """
    parts = -(-number // max(1, largest))
    size = -(-number // parts)
    return np.minimum(np.arange(parts * size), number - 1).reshape(parts, size)


def evaluate_strategy(
    name: str,
    strategy: Strategy,
    verifier: Verifier,
    policy: Policy,
    params_of: Mapping[str, Params],
    units: Mapping[str, float],
    task: Task,
    prompts: jax.Array,
    solutions: int,
    seeds: Sequence[int],
) -> list[Row]:
    """What `measure` finds, as the rows of the run directory's `evaluations/NAME.json`."""
    found = measure(strategy, verifier, policy, params_of, units, task, prompts, solutions, seeds)
    return [
        row
        for policy_name, measured in found.items()
        for row in rows_of(name, policy_name, measured, verifier, policy, task, solutions, seeds)
    ]


def rows_of(
    name: str,
    policy_name: str,
    measured: Measured,
    verifier: Verifier,
    policy: Policy,
    task: Task,
    solutions: int,
    seeds: Sequence[int],
) -> list[Row]:
    """One row for each seed.

    `ci95` is the Wilson interval over the problems: seeds share the problems, so that the interval
    of a mean over seeds is no narrower.
    """
    rows = []
    for number, seed in enumerate(seeds):
        solved, problems = int(measured.right[number].sum()), measured.right.shape[1]
        costs = {
            cost: float(getattr(measured, cost)[number].mean())
            for cost in (
                *("generations", "policy_tokens", "verifier_tokens"),
                *("context_tokens", "contexts"),
            )
        }
        contexts = costs.pop("contexts")
        rows.append(
            {
                "policy": policy_name,
                "strategy": name,
                "settings": measured.settings,
                "verifier": verifier.label,
                "oracle": verifier.oracle,
                "budget": solutions,
                "seed": seed,
                "accuracy": solved / problems,
                "ci95": list(wilson_interval(solved, problems)),
                "problems": problems,
                "prompt_tokens": task.prompt_length,
                **costs,
                "flops": answer_flops(policy, task, costs["policy_tokens"])
                + context_flops(policy, task, costs["context_tokens"], contexts)
                + verifier_flops(verifier, policy, task, costs["verifier_tokens"]),
                "seconds": measured.seconds,
            }
        )
    return rows


def answer_flops(policy: Policy, task: Task, policy_tokens: float) -> float:
    """Forward FLOPs of reading one prompt and evaluating `policy_tokens` tokens after it."""
    context = task.prompt_length + policy.form.max_length / 2
    read = flops_per_token(policy.model, task.prompt_length, policy=False)
    return task.prompt_length * read + policy_tokens * flops_per_token(policy.model, context)


def context_flops(policy: Policy, task: Task, tokens: float, contexts: float) -> float:
    """Forward FLOPs of reading contexts of so many tokens together, beside the prompt itself, and
    of attending to them, and not to the prompt alone, in what is written behind each."""
    if not contexts:
        return 0.0
    length = tokens / contexts
    read = flops_per_token(policy.model, length, policy=False)
    longer = flops_per_token(policy.model, length) - flops_per_token(
        policy.model, task.prompt_length
    )
    return tokens * read + contexts * policy.form.max_length * longer


def verifier_flops(
    verifier: Verifier | None, policy: Policy, task: Task, verifier_tokens: float
) -> float:
    """Forward FLOPs of a network of a verifier's own that reads so many tokens; else none."""
    if not isinstance(verifier, NetworkVerifier):
        return 0.0
    context = task.prompt_length + policy.form.max_length / 2
    return verifier_tokens * flops_per_token(verifier.network, context, policy=False)


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Means over seeds: one row for each policy, strategy, verifier and budget."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        key = (row["policy"], row["strategy"], row["verifier"], row["oracle"], row["budget"])
        groups.setdefault(key, []).append(row)
    result = []
    for (policy, strategy, verifier, oracle, budget), group in groups.items():
        accuracies = [row["accuracy"] for row in group]
        problems = group[0]["problems"]
        mean = float(np.mean(accuracies))
        result.append(
            {
                "policy": policy,
                "strategy": strategy,
                "verifier": verifier,
                "oracle": oracle,
                "budget": budget,
                "seeds": len(group),
                "accuracy": mean,
                "ci95": list(wilson_interval(mean * problems, problems)),
                "problems": problems,
                **{
                    cost: float(np.mean([row[cost] for row in group]))
                    for cost in ("policy_tokens", "verifier_tokens")
                },
                "flops": float(np.mean([row["flops"] for row in group])),
            }
        )
    return result
