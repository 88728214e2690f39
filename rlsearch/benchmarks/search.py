"""Throughput of search and of plain decoding, measured against each other in one run.

The limit of a search is the speed at which the same model decodes the same batch with nothing
else to do: `search_efficiency` is the share of it that the search reaches. Speed is that of reading
positions, a prompt's and a step's padding included: a token that counts costs the one more of them
than the other.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.benchmarks.train import searching_stage
from rlsearch.config import Experiment
from rlsearch.config_file import own_modules
from rlsearch.decoding.writer import Writer
from rlsearch.networks.flops import flops_per_token
from rlsearch.parallel.mesh import batch_shards, make_mesh, over_data, row_keys
from rlsearch.parallel.sharding import gathered, param_shardings
from rlsearch.runs.lineage import Lineage
from rlsearch.search.search import num_decisions, search
from rlsearch.training.state import run_key
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker

REPEATS = 5  # timings of each program; they alternate, and medians are compared


def bench_decode(config: Experiment) -> dict[str, Any]:
    """Plain batched sampling of whole solutions."""
    decode, _, facts = _programs(config)
    (seconds, tokens), *_ = _measure(decode)
    rate = tokens / seconds
    del facts["positions"]
    return {**facts, "tokens_per_second": rate, "flops_per_second": rate * facts["flops_per_token"]}


def bench_search(config: Experiment) -> dict[str, Any]:
    """The search of a training step at its first decision, and plain decoding beside it."""
    decode, search_, facts = _programs(config)
    (decode_seconds, decode_tokens), (search_seconds, search_tokens) = _measure(decode, search_)
    decode_positions, search_positions = facts.pop("positions")
    decode_rate, search_rate = decode_positions / decode_seconds, search_positions / search_seconds
    expansions = facts["batch_size"] * facts["num_simulations"]
    return {
        **facts,
        "expansions_per_second": expansions / search_seconds,
        "search_tokens_per_second": search_tokens / search_seconds,
        "decode_tokens_per_second": decode_tokens / decode_seconds,
        "search_positions_per_second": search_rate,
        "decode_positions_per_second": decode_rate,
        "search_efficiency": search_rate / decode_rate,
    }


def _programs(config: Experiment) -> tuple[Callable, Callable, dict[str, Any]]:
    lineage, mesh = Lineage(config, own_modules(config)), make_mesh(config.parallel)
    settings, task = searching_stage(config), lineage.task
    policy = lineage.policy(settings.name)
    model, batch = policy.model, settings.teaching.num_problems
    if batch % batch_shards(mesh):
        valid = f"a multiple of parallel.replica x data, {batch_shards(mesh)}"
        raise ValueError(f"{settings.name}.teaching.num_problems is {batch}: it must be {valid}")
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    where = param_shardings(model.logical_axes(), shapes, mesh, config.parallel.rules)
    init = jax.jit(model.init, out_shardings=gathered(where))  # as a search has them
    writer = Writer(policy, init(run_key(config.seed, "parameters", 0)))
    keys = row_keys(run_key(config.seed, "evaluation", 0), batch)
    prompts = settings.teaching.draw_problems(task, keys)

    def decode(writer, prompts, keys):
        return writer.sample(prompts, keys)[0].line.length

    def search_once(writer, prompts, keys):
        root, critic = writer.start(prompts), Checker.of(task)
        grown = search(writer, critic, root, Memory(), keys, settings.search).grown
        # The tree is returned only where its size is asked for.
        return grown.tokens, grown.tree

    tree = jax.eval_shape(search_once, writer, prompts, keys)[1]
    nodes = batch * (settings.search.num_simulations + 1)
    sizes = [x.size * x.dtype.itemsize for x in jax.tree.leaves(tree)]
    format, num_simulations = policy.format, settings.search.num_simulations
    by_steps = num_decisions(format, settings.search) == format.num_steps
    turn = format.max_step_length if by_steps else 1
    read = format.num_steps * format.max_step_length, num_simulations * turn
    middle = task.prompt_length + policy.format.max_length / 2
    facts = {
        "config": config.name,
        "device": jax.devices()[0].device_kind,
        "devices": mesh.devices.size,
        "batch_size": batch,
        "num_simulations": num_simulations,
        "positions": [batch * (task.prompt_length + written) for written in read],
        "parameters": model.num_params(),
        "flops_per_token": flops_per_token(model, middle),
        "bytes_per_node": sum(sizes) / nodes,
    }
    run_decode = jax.jit(over_data(mesh, decode))
    run_search = jax.jit(over_data(mesh, lambda *arguments: search_once(*arguments)[0]))
    return (
        lambda: run_decode(writer, prompts, keys),
        lambda: run_search(writer, prompts, keys),
        facts,
    )


def _measure(*programs: Callable[[], jax.Array]) -> list[tuple[float, float]]:
    """Median seconds, and tokens, of each program; the programs take turns."""
    tokens = [float(jnp.sum(program())) for program in programs]  # compiles
    seconds: list[list[float]] = [[] for _ in programs]
    for _ in range(REPEATS):
        for times, program in zip(seconds, programs, strict=True):
            began = time.perf_counter()
            jax.block_until_ready(program())
            times.append(time.perf_counter() - began)
    return [(float(np.median(times)), count) for times, count in zip(seconds, tokens, strict=True)]
