"""One answer to one problem, with its steps and its cost."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.measuring.accuracy import mean_solution_tokens
from rlsearch.measuring.evaluate import make_policy, open_run, policy_params
from rlsearch.parallel.mesh import row_keys
from rlsearch.strategies.base import Budget, load_strategy
from rlsearch.verifiers.value_head import ValueHead


def solve(
    run_dir: str,
    problem: str,
    policy_name: str | None = None,
    budget: int = 16,
    strategy: str = "tree_search",
    seed: int = 0,
    data_dir: str = "",
    code: str = "",
) -> dict[str, Any]:
    """Solves `problem` with a trained run; the checker is asked only about the final answer.

    Raises:
        ValueError: if the task cannot read the problem, or no solution exists.
    """
    directory, config, setup = open_run(run_dir, data_dir, code)
    prompt = setup.task.parse_problem(problem)
    params, name = policy_params(directory, config, setup, policy_name)
    tokens = jnp.array([setup.task.tokenizer.encode(prompt)], jnp.int32)
    policy, keys = make_policy(setup), row_keys(jax.random.key(seed), 1)
    allowed = Budget(budget, round(budget * mean_solution_tokens(policy, params, tokens)))
    chosen = load_strategy(strategy)
    run = jax.jit(lambda params, judge: chosen.solve(policy, params, judge, tokens, keys, allowed))
    answer = run(params, ValueHead())
    solution = setup.task.tokenizer.decode(np.asarray(answer.tokens[0]).tolist())
    return {
        "problem": prompt.strip(),
        "policy": name,
        "strategy": strategy,
        "budget": budget,
        "solution": solution.splitlines(),
        "right": setup.task.check(prompt, solution),
        "score": float(answer.score[0]),
        "generations": int(answer.generations[0]),
        "policy_tokens": int(answer.policy_tokens[0]),
    }
