"""The needs and the work of a training step on machines that nobody has at hand.

Where the machine's compiler is installed, the real step of every stage is compiled for the real
topology, and the figures are read from the compiled program. Elsewhere they are estimated from the
step's trace, and said to be.
"""

import math
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, Mesh

from rlsearch.config import Experiment
from rlsearch.config_file import own_modules
from rlsearch.decoding.writer import Writer
from rlsearch.parallel.mesh import (
    BATCH,
    abstract_mesh,
    batch_shards,
    data_sharding,
    make_mesh,
    mesh_sizes,
)
from rlsearch.parallel.sharding import gathered, placed
from rlsearch.planning.chips import Chip
from rlsearch.planning.collectives import Collective, collectives
from rlsearch.planning.compilers import compiler_of, devices_of, has_compiler, kept_nowhere
from rlsearch.planning.hlo import read_program
from rlsearch.planning.plan_fields import TEMPORARY, shrinking_field, split_evenly
from rlsearch.planning.topology import find_topology
from rlsearch.planning.traced import search_tree_bytes, trace_work
from rlsearch.planning.work import EndedByData, work_of
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Stage
from rlsearch.training.loop import build_stages
from rlsearch.training.state import (
    abstract_state,
    read_shardings,
    stage_optimizer,
    state_places,
)
from rlsearch.training.step import make_step

PARTS = ("search", "collect", "update")  # named scopes of a step; a search is part of collecting


def part_of(scope: str) -> str:
    """Names the part of a step that an operation belongs to, by its scope."""
    names = scope.split("/")
    return next((part for part in PARTS if part in names), "other")


def plan(
    config: Experiment,
    topology: str,
    stages: tuple[str, ...] = (),
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The plan of all stages that a config trains, or of some, as `rlsearch plan --json` prints it.

    Args:
        topology: a product's name; see `rlsearch.planning.topology`.
        stages: names of those to plan; empty: all.
        report: told what is being done.

    Raises:
        ValueError: an unknown name, or a config whose step cannot be split over so many devices.
    """
    machine = find_topology(topology)
    sizes = mesh_sizes(config.parallel, machine.num_chips)
    if math.prod(sizes) != machine.num_chips:
        raise ValueError(
            f"parallel.replica x data x model is {math.prod(sizes)}: {machine.name} has "
            f"{machine.num_chips} chips; parallel.data -1 takes all that are left"
        )
    changed, config = split_evenly(config, sizes[0] * sizes[1])
    lineage = Lineage(config, own_modules(config))
    found = [stage for stage in build_stages(lineage) if isinstance(stage, Stage)]
    unknown = [name for name in stages if name not in [stage.name for stage in found]]
    if unknown:
        names = ", ".join(stage.name for stage in found)
        raise ValueError(f"there is no stage {unknown[0]!r}: the config trains {names}")
    compiled, compiler = has_compiler(machine), compiler_of(machine)
    mesh = (
        make_mesh(config.parallel, devices_of(machine))
        if compiled
        else abstract_mesh(config.parallel, machine.num_chips)
    )
    plans = []
    for stage in found:
        if not stages or stage.name in stages:
            report(f"{'compiling' if compiled else 'estimating'} {stage.name} for {topology}")
            with kept_nowhere():
                options = compiler.options if compiled else None
                plans.append(plan_stage(lineage, stage, mesh, machine.chip, options))
    return {
        "config": config.name,
        "topology": machine.name,
        "chip": machine.chip.kind,
        "chips": machine.num_chips,
        "mesh": dict(mesh.shape),
        "compiler": compiler.version if compiled else None,
        "estimate": not compiled,
        "changed": changed,
        "fits": all(stage["fits"] for stage in plans),
        "separate_searches": not any(stage["forbidden_collectives"] for stage in plans),
        "stages": plans,
    }


def plan_stage(
    lineage: Lineage,
    stage: Stage,
    mesh: Mesh | AbstractMesh,
    chip: Chip,
    options: dict[str, Any] | None,
) -> dict[str, Any]:
    """The plan of one stage: of one device, as all do the same.

    Args:
        options: the compiler's; None: there is no compiler.
    """
    began = time.monotonic()
    config = lineage.config
    state, arguments = step_arguments(config, stage, mesh)
    optimizer, rules = stage_optimizer(stage), config.parallel.rules
    places = state_places(stage, mesh, rules)
    step = make_step(stage, optimizer, mesh, places, config.parallel.accumulate)
    traced = step.trace(state, *arguments)
    needs = memory_by_shape(lineage, stage, mesh, state, arguments, traced.jaxpr)
    found = _estimate(traced, mesh) if options is None else _compile(traced, mesh, options)
    needs |= found.memory
    if "arguments" in needs:  # as the compiler lays them out
        held = sum(needs[name] for name in HELD if name in needs)
        # What nothing reads is no argument, so that there may be less of them.
        needs["layout padding"] = max(0.0, needs.pop("arguments") - held)
    needs = {name: needs[name] for name in ORDER if name in needs}
    total = sum(needs.get(name, 0.0) for name in TOTAL)
    fits = found.refused is None and total <= chip.memory
    seconds = {"compute": sum(found.flops.values()) / chip.flops}
    if not found.estimate:  # else what moves is known too badly for a bound
        seconds["memory"] = sum(found.moved.values()) / chip.bandwidth
        seconds["links"] = sum(told.sent for told in found.collectives) / chip.links
    shrink = None
    if not fits:
        busiest = trace_work(traced.jaxpr, mesh, part_of).busiest
        shrink = shrinking_field(config, stage.name, needs, busiest)
    bound = max(seconds, key=lambda name: seconds[name])
    flops = sum(found.flops.values())
    return {
        "stage": stage.name,
        "estimate": found.estimate,
        "bytes_per_device": needs,
        "total_bytes": total,
        "memory_bytes": chip.memory,
        "fits": fits,
        "refused": found.refused,
        "shrink": shrink,
        "flops_per_device": flops,
        "flops": found.flops,
        "search_share": found.flops.get("search", 0.0) / flops if flops else 0.0,
        "formula_flops_per_device": stage.flops_per_step.total / math.prod(mesh.shape.values()),
        "bytes_moved": found.moved,
        "loops_at_their_longest": found.loops.longest,
        "loops_of_unknown_length": found.loops.once,
        "roofline_seconds": seconds,
        "step_seconds": seconds[bound],
        "bound_by": bound,
        "collectives": summary(found.collectives),
        "forbidden_collectives": summary(forbidden(found.collectives)),
        "planned_in_seconds": time.monotonic() - began,
    }


HELD = ("parameters", "optimiser", "replay", "read parameters")  # from step to step
TOTAL = (*HELD, "layout padding", "outputs", "temporaries", "generated code")
ORDER = (*TOTAL, *TEMPORARY)


class Found(NamedTuple):
    """The facts about a step on one device, from a compiler or from its trace."""

    estimate: bool
    memory: dict[str, float]
    flops: dict[str, float]
    moved: dict[str, float]
    loops: EndedByData
    collectives: list[Collective]
    refused: str | None = None  # what the compiler said where it does not fit


def _compile(traced: Any, mesh: Any, options: dict[str, Any]) -> Found:
    try:
        compiled = traced.lower().compile(options)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _refused(_estimate(traced, mesh), str(error))
    sizes = compiled.memory_analysis()
    program = read_program(compiled.as_text())
    work = work_of(program, part_of)
    memory = {
        "arguments": float(sizes.argument_size_in_bytes),
        "outputs": float(sizes.output_size_in_bytes - sizes.alias_size_in_bytes),
        "temporaries": float(sizes.temp_size_in_bytes),
    }
    if sizes.generated_code_size_in_bytes:  # which the compiler for GPUs does not say
        memory["generated code"] = float(sizes.generated_code_size_in_bytes)
    told = collectives(program, mesh)
    return Found(False, memory, _nonzero(work.flops), _nonzero(work.bytes), work.loops, told)


def _refused(estimate: Found, message: str) -> Found:
    """The estimate, with what the compiler says that it needs and there is."""
    sentence = message.splitlines()[0].partition(": ")[2]
    memory = dict(estimate.memory)
    if said := re.search(r"temporaries \(([\d.]+)([KMGT])\)", sentence):
        memory["temporaries"] = float(said[1]) * 1024 ** (1 + "KMGT".index(said[2]))
    return estimate._replace(memory=memory, refused=sentence)


def _estimate(traced: Any, mesh: Any) -> Found:
    work = trace_work(traced.jaxpr, mesh, part_of)
    memory = {"temporaries": work.temporaries}
    return Found(True, memory, _nonzero(work.flops), _nonzero(work.bytes), work.loops, [])


def _nonzero(sums: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in sums.items() if value}


def step_arguments(
    config: Experiment, stage: Stage, mesh: Mesh | AbstractMesh
) -> tuple[Any, tuple[Any, ...]]:
    """Abstract arguments of a stage's step: the state, and what follows it."""
    rules = config.parallel.rules
    key = jax.eval_shape(jax.random.key, 0)
    fed = None if stage.feed is None else placed(stage.feed(0), data_sharding(mesh))
    read = {
        role: placed(jax.eval_shape(ref.model.init, key), read_shardings(ref.model, mesh, rules))
        for role, ref in stage.reads.items()
    }
    return abstract_state(stage, mesh, rules), (key, read, fed)


def memory_by_shape(
    lineage: Lineage, stage: Stage, mesh: Any, state: Any, arguments: Any, jaxpr: Any
) -> dict[str, float]:
    """Bytes on one device of what has a name, without what a compiler adds to it.

    The first are there from step to step; the others are parts of the temporaries.
    """
    key, read, _ = arguments
    computed = jax.eval_shape(stage.model.computed, state.params)
    whole = placed(computed, gathered(jax.tree.map(lambda x: x.sharding, state.params)))
    shards = batch_shards(mesh)
    batch = jax.eval_shape(stage.batch, state.memory, key, 0)
    needs = {
        "parameters": local_bytes(state.params),
        "optimiser": local_bytes(state.optimizer),
        "replay": local_bytes(state.memory),
        "read parameters": local_bytes(read),
        "search tree": search_tree_bytes(jaxpr),
        "KV cache": _cache_bytes(lineage, stage) / shards,
        "gathered parameters": local_bytes(whole) if stage.flops_per_step.produce else 0.0,
        "batch": local_bytes(batch) / shards,
    }
    return {name: size for name, size in needs.items() if size or name in HELD[:3]}


def local_bytes(arrays: Any) -> float:
    """Bytes of abstract arrays on one device; one without a sharding is whole."""
    total = 0.0
    for x in jax.tree.leaves(arrays):
        shape = x.sharding.shard_shape(x.shape) if getattr(x, "sharding", None) else x.shape
        total += math.prod(shape) * x.dtype.itemsize
    return total


def _cache_bytes(lineage: Lineage, stage: Stage) -> float:
    """Counts the bytes of all prompts and one solution each, where solutions are written."""
    if lineage.config.task is None or not stage.flops_per_step.produce:
        return 0.0
    policy = lineage.policy(stage.name)
    prompts = jax.ShapeDtypeStruct((stage.num_keys, lineage.task.prompt_length), "int32")
    params = jax.eval_shape(policy.model.init, jax.random.key(0))
    draft = jax.eval_shape(lambda params, x: Writer(policy, params).start(x), params, prompts)
    return local_bytes((draft.prompt.cache, draft.line.cache))


def forbidden(found: list[Collective]) -> list[Collective]:
    """Collectives over `replica` or `data` in a loop of collecting, where searches run."""
    return [
        collective
        for collective in found
        if set(collective.axes) & set(BATCH)
        and any(part_of(loop) in ("search", "collect") for loop in collective.loops)
    ]


def summary(found: list[Collective]) -> list[dict[str, Any]]:
    """Collectives of one kind, axis and place as one."""
    rows: dict[tuple, dict[str, Any]] = {}
    for collective in found:
        place = part_of(collective.scope)
        place += " loop" if collective.loops else ""
        key = (collective.kind, collective.axes, place)
        row = rows.setdefault(
            key,
            {
                "kind": collective.kind,
                "axes": list(collective.axes),
                "place": place,
                "operations": 0,
                "runs": 0.0,
                "bytes": 0.0,
                "sent_bytes": 0.0,
            },
        )
        row["operations"] += 1
        row["runs"] += collective.runs
        row["bytes"] += collective.runs * collective.bytes
        row["sent_bytes"] += collective.sent
    return sorted(rows.values(), key=lambda row: -row["sent_bytes"])
