"""Beam search over all problems at once, against the same search problem by problem.

Both are one compiled program each and give the same answers, so that their ratio says what a batch
is worth: on a CPU that one problem's drafts fill, nothing; on an accelerator much.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import Experiment
from rlsearch.config_file import own_modules
from rlsearch.decoding.writer import Writer
from rlsearch.measuring.measure import MAX_DRAFTS, in_parts
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.lineage import Lineage
from rlsearch.strategies.base import Budget
from rlsearch.strategies.beam_search import BeamSearch
from rlsearch.training.state import run_key
from rlsearch.verifiers.value_head import ValueHead

DRAFTS = 64  # N, of each problem
REPEATS = 3  # timings of each way; they alternate, and medians are compared


def bench_beams(config: Experiment) -> dict[str, Any]:
    """`batched_speedup`: how many times as fast all held-out problems are at once, with untrained
    weights and N = 64."""
    lineage = Lineage(config, own_modules(config))
    policy = lineage.policy(lineage.of_kind("policy")[0])
    prompts = jnp.asarray(lineage.task.held_out_prompts())
    keys = row_keys(run_key(config.seed, "evaluation", 0), len(prompts))
    params = jax.jit(policy.model.init)(run_key(config.seed, "parameters", 0))
    writer, budget = Writer(policy, params), Budget(DRAFTS, DRAFTS * policy.format.max_length)

    @jax.jit
    def solve(writer, prompts, keys):
        found = BeamSearch().solve(writer, ValueHead(), prompts, keys, budget)
        return found.tokens, found.policy_tokens

    def in_batches(parts: np.ndarray) -> tuple[np.ndarray, ...]:
        each = [solve(writer, prompts[part], keys[part]) for part in parts]
        return tuple(np.concatenate(x)[: len(prompts)] for x in zip(*each, strict=True))

    parts = in_parts(len(prompts), MAX_DRAFTS // DRAFTS), in_parts(len(prompts), 1)
    ways = [functools.partial(in_batches, part) for part in parts]
    (answers, tokens), (same, _) = (way() for way in ways)  # compiles
    seconds: list[list[float]] = [[], []]
    for _ in range(REPEATS):
        for times, way in zip(seconds, ways, strict=True):
            began = time.perf_counter()
            way()
            times.append(time.perf_counter() - began)
    at_once, one_by_one = (float(np.median(times)) for times in seconds)
    return {
        "config": config.name,
        "device": jax.devices()[0].device_kind,
        "problems": len(prompts),
        "drafts": DRAFTS,
        "problems_at_once": parts[0].shape[1],
        "same_answers": float((answers == same).all(axis=1).mean()),
        "tokens_per_second": float(tokens.sum()) / at_once,
        "batched_speedup": one_by_one / at_once,
    }
