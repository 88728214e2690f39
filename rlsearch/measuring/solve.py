"""One answer to one problem, with its steps and its cost."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.measuring.examination import Contestant, mean_solution_tokens
from rlsearch.measuring.opened import OpenedRun
from rlsearch.parallel.mesh import row_keys
from rlsearch.strategies.base import Strategy, name_of
from rlsearch.strategies.drawing import drawing_as
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.verifiers.value_head import ValueHead

SEARCH = TreeSearch()


def solve(
    opened: OpenedRun,
    problem: str,
    policy: str | None = None,
    budget: int = 16,
    strategy: Strategy | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Solves `problem` with a trained run; the checker is asked only about the final answer.

    In what is returned `right` is None where the task does not know the problem, which is in words.

    Args:
        policy: by default the run's `default_policy`.
        budget: in mean sampled solutions.
        strategy: by default tree search, which chooses as the run's config says.

    Raises:
        ValueError: if the task cannot read the problem, or no solution exists.
    """
    strategy = strategy or choosing_as(opened, SEARCH)
    task = opened.task
    prompt = task.parse_problem(problem)
    contestant, tokens = contestant_for(opened, prompt, policy)
    keys, allowance = row_keys(jax.random.key(seed), 1), contestant.budget(budget)
    run = jax.jit(lambda writer, judge: strategy.solve(writer, judge, tokens, keys, allowance))
    answer = run(contestant.writer, ValueHead())
    solution = task.tokenizer.decode(np.asarray(answer.tokens[0]).tolist())
    return {
        "problem": prompt.strip(),
        "policy": contestant.name,
        "strategy": name_of(strategy),
        "budget": budget,
        "solution": solution.splitlines(),
        "right": task.check(prompt, solution),
        "score": float(answer.score[0]),
        "generations": int(answer.generations[0]),
        "policy_tokens": int(answer.policy_tokens[0]),
    }


def choosing_as(opened: OpenedRun, strategy: Strategy) -> Strategy:
    """`strategy`, choosing among solutions as the run's config says."""
    weight = opened.defaults.policy_weight
    return strategy if weight is None else drawing_as(strategy, {"policy_weight": weight})


def contestant_for(
    opened: OpenedRun, prompt: str, policy: str | None
) -> tuple[Contestant, jax.Array]:
    """A policy of a run, whose unit is that of one problem, and the problem `[1, P]` int32."""
    writer, name = opened.writer(policy)
    encode = getattr(opened.task, "encode_problem", opened.task.tokenizer.encode)
    tokens = jnp.array([encode(prompt)], jnp.int32)
    unit = float(jax.jit(mean_solution_tokens)(writer, tokens))
    return Contestant(name, opened.policies()[name], writer, unit), tokens
