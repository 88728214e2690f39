"""The suite of revisions: a fixed budget spent in parallel, in sequence, and in between.

As in Snell et al. 2024, section 6: N attempts are N / s chains of s, swept from s = 1, plain
samples, to s = N, one chain. What a verifier chooses, inside each chain and then among chains,
stands beside the majority of all attempts. Beside that: how often each attempt of a chain is right,
and how many right ones are revised into wrong ones (38% in the paper) and the other way round.

For each s chains are drawn once, as many as the largest budget pays for; a smaller budget has the
first of them.

Letters: Q problems of all seeds, p chains, s attempts of a chain, T tokens.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.measuring.accuracy import (
    MAX_DRAFTS,
    answer_flops,
    context_flops,
    in_parts,
    verifier_flops,
    warn_of_bad_scores,
    wilson_interval,
)
from rlsearch.measuring.evaluate import Subjects, judge_of, subjects
from rlsearch.networks.language_model import Params
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.strategies.chains import (
    Chains,
    best_of_chains,
    majority_of_chains,
    sample_chains,
)
from rlsearch.studies.revisions_picture import draw
from rlsearch.verifiers.base import Verifier

Row = dict[str, Any]


class Drawn(NamedTuple):
    """Chains of one length, and the truth about them."""

    chains: Chains  # of arrays on the host, [Q, p, s, ...]
    right: np.ndarray  # [Q, p, s] bool
    seconds: float  # of each seed on average, compilation left out


def run_revision_suite(
    run_dir: str,
    sequential: Sequence[int] = (),
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    policy_name: str = "",
    num_problems: int | None = None,
    verifier: str = "value_head",
    aggregation: str = "",
    data_dir: str = "",
    code: str = "",
    split: str = "held_out",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes `evaluations/revisions.json` and `.png`, and returns their content and paths.

    Args:
        sequential: s; empty for the powers of 2 up to each budget.
        budgets, seeds: empty for those of the run's config.
        policy_name: who revises; empty for the policy of the stage "revision".
        num_problems, data_dir, code, split: see `subjects`.
        verifier, aggregation: see `open_verifier`.
        report: is told one line after each result.
    """
    of = subjects(run_dir, [policy_name or "revision"], num_problems, data_dir, code, split)
    judge = judge_of(of, verifier, aggregation, code)
    budgets = sorted(set(budgets or of.config.evaluation.budgets))
    seeds = list(seeds or of.config.evaluation.seeds)
    lengths = sorted(set(sequential) or _powers_of_2(budgets[-1]))
    if lengths[-1] > budgets[-1]:
        raise ValueError(
            f"sequential is {lengths[-1]}: a budget of {budgets[-1]} does not pay for so many "
            "attempts"
        )
    rows: list[Row] = []
    revised: list[Row] = []
    for length in lengths:
        drawn = draw_chains(of, judge, budgets[-1] // length, length, seeds)
        revised.append({"sequential": length, **what_revising_did(drawn.right)})
        for budget in [budget for budget in budgets if budget >= length]:
            for chosen_by in (judge, None):
                rows += rows_of(of, chosen_by, first_chains(drawn, budget // length), budget, seeds)
                same = rows[-len(seeds) :]
                accuracy = float(np.mean([row["accuracy"] for row in same]))
                report(
                    f"budget {budget:4}  {same[0]['settings']['parallel']:4} chains of {length:3}  "
                    f"{same[0]['verifier']:18} {100 * accuracy:5.1f}%"
                )
    result = {"benchmark": "revisions", "rows": rows, "revised": revised}
    table, picture = (of.folder / f"revisions{end}" for end in (".json", ".png"))
    write_json(table, result)
    draw(rows, revised, picture, of.title)
    return {**result, "table": str(table), "picture": str(picture)}


def _powers_of_2(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length())]


def draw_chains(
    of: Subjects, verifier: Verifier, parallel: int, sequential: int, seeds: Sequence[int]
) -> Drawn:
    """Chains of every problem under every seed, in parts of equal size where they are many."""
    ((_, params),) = of.params_of.items()
    prompts = jnp.tile(of.prompts, (len(seeds), 1))
    keys = jnp.concatenate([row_keys(jax.random.key(seed), len(of.prompts)) for seed in seeds])

    @jax.jit
    def solve(params: Params, verifier: Verifier, prompts: jax.Array, keys: jax.Array):
        chains = sample_chains(
            of.policy, params, verifier, prompts, keys, parallel, sequential, temperature=1.0
        )
        attempts = jnp.moveaxis(
            chains.tokens.reshape(len(prompts), -1, chains.tokens.shape[-1]), 1, 0
        )
        right = jax.lax.map(lambda tokens: of.task.check_tokens(prompts, tokens), attempts)
        return chains, right.T.reshape(chains.scores.shape)

    parts = in_parts(len(prompts), MAX_DRAFTS // (parallel * sequential))
    run = solve.lower(params, verifier, prompts[parts[0]], keys[parts[0]]).compile()
    began = time.monotonic()
    each = [run(params, verifier, prompts[part], keys[part]) for part in parts]
    chains, right = jax.tree.map(lambda *x: np.concatenate(x)[: len(prompts)], *each)
    warn_of_bad_scores(verifier, chains.bad_scores.sum(axis=(1, 2)))
    return Drawn(chains, right, (time.monotonic() - began) / len(seeds))


def first_chains(drawn: Drawn, number: int) -> Drawn:
    """The first so many chains of each problem, and their part of the time."""
    total = drawn.right.shape[1]
    chains, right = jax.tree.map(
        lambda x: x[:, :number] if x.ndim > 1 else x, (drawn.chains, drawn.right)
    )
    return Drawn(chains, right, drawn.seconds * number / total)


def rows_of(
    of: Subjects, verifier: Verifier | None, drawn: Drawn, budget: int, seeds: Sequence[int]
) -> list[Row]:
    """One row for each seed; `verifier` is None where the majority chooses."""
    chains, (_, parallel, sequential) = drawn.chains, drawn.right.shape
    choose = majority_of_chains if verifier is None else best_of_chains
    chosen = np.asarray(jax.jit(choose)(chains.answers, chains.scores))
    right = drawn.right.reshape(len(chosen), -1)[np.arange(len(chosen)), chosen]
    contexts = parallel * (sequential - 1)
    spent: dict[str, Any] = {
        "generations": (chains.scores >= 0).sum(axis=(1, 2)),
        "policy_tokens": chains.policy_tokens.sum(axis=(1, 2)),
        "verifier_tokens": chains.verifier_tokens.sum(axis=(1, 2)) + chains.shared_verifier_tokens,
        "context_tokens": chains.context_tokens.sum(axis=(1, 2)),
    }
    if verifier is None:
        spent["verifier_tokens"] = np.zeros_like(spent["verifier_tokens"])
    ((name, _),), rows = of.params_of.items(), []
    for seed, part in zip(seeds, np.split(np.arange(len(right)), len(seeds)), strict=True):
        costs = {cost: float(values[part].mean()) for cost, values in spent.items()}
        solved = int(right[part].sum())
        rows.append(
            {
                "policy": name,
                "checkpoint_step": of.checkpoint_steps[name],
                "strategy": f"revisions, {sequential} in a chain",
                "settings": {
                    "n": parallel * sequential,
                    "parallel": parallel,
                    "sequential": sequential,
                    "temperature": 1.0,
                },
                "verifier": "none" if verifier is None else verifier.label,
                "oracle": verifier is not None and verifier.oracle,
                "budget": budget,
                "seed": seed,
                "accuracy": solved / len(part),
                "ci95": list(wilson_interval(solved, len(part))),
                "problems": len(part),
                "prompt_tokens": of.task.prompt_length,
                **costs,
                "flops": answer_flops(of.policy, of.task, costs["policy_tokens"])
                + context_flops(of.policy, of.task, costs["context_tokens"], contexts)
                + verifier_flops(verifier, of.policy, of.task, costs["verifier_tokens"]),
                "seconds": drawn.seconds,
            }
        )
    return rows


def what_revising_did(right: np.ndarray) -> Row:
    """Of attempts `right [Q, p, s]` that another one follows.

    Returns:
        `by_attempt`, the share that is right of each attempt of a chain; `right_to_wrong`, the
        share of right attempts whose revision is wrong, and `wrong_to_right`. None: there are none.
    """
    before, after = right[:, :, :-1], right[:, :, 1:]

    def share(changed: np.ndarray, of: np.ndarray) -> float | None:
        return float((changed & of).sum() / of.sum()) if of.any() else None

    return {
        "by_attempt": right.mean(axis=(0, 1)).tolist(),
        "right_to_wrong": share(~after, before),
        "wrong_to_right": share(after, ~before),
    }
