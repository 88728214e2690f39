"""Plans for machines that nobody has, held against what real compilers say."""

import dataclasses
import functools
import json
import re
from pathlib import Path

import jax
import pytest

from rlsearch import config_file
from rlsearch.config import OptimizerConfig, ParallelConfig, Pretrained, TowerConfig
from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.objectives.step_targets import step_learning
from rlsearch.parallel.mesh import make_mesh
from rlsearch.planning import plan as plan_module
from rlsearch.planning.chips import V5E
from rlsearch.planning.collectives import Collective
from rlsearch.planning.compilers import CUDA, LIBTPU, devices_of
from rlsearch.planning.plan import forbidden, plan, plan_stage
from rlsearch.planning.plan_fields import shrinking_field, split_evenly
from rlsearch.planning.topology import find_topology, topologies
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import StageFlops
from rlsearch.stages.revision import Revision
from rlsearch.stages.ring import Learning, Origin, Ring, ring_stage
from rlsearch.training.loop import build_stages
from tests.boards import tiny_board_experiment
from tests.commands import call, fail
from tests.tiny import tiny_experiment, with_stage, write_config_file
from tests.toy import PAD, ToyTask, wide_model
from tests.verifier_run import verifier_experiment

ROOT = Path(__file__).resolve().parents[2]
CONFIGS, PAGE = ROOT / "configs", (ROOT / "docs" / "pods.md").read_text()
POD = re.compile(r"\b(v5e|v5p|v6e|h100|h200)-[\dx]+\b")
HAS_LIBTPU = pytest.mark.skipif(
    not LIBTPU.installed, reason="libtpu, TPUs' compiler, is not installed"
)
HAS_CUDA = pytest.mark.skipif(
    not CUDA.installed, reason=f"{' or '.join(CUDA.packages)}, for GPUs, is not installed"
)
HELD = ("parameters", "optimiser", "replay")


def language(**parallel: int):
    """Products are most of what it does."""
    config = with_stage(tiny_experiment(), "base", batch_size=16)
    for name in ("distilled", "control"):
        config = with_stage(config, name, teaching={"num_problems": 8, "batch_size": 16})
    shape = dict(num_heads=4, embed_dim=64, head_dim=16, mlp_dim=128)
    model = dataclasses.replace(config.model, **shape)
    return dataclasses.replace(config, model=model, parallel=ParallelConfig(**parallel))


def board(**parallel: int):
    shape = TowerConfig(num_blocks=1, channels=16, value_dim=4)
    config = tiny_board_experiment(model=shape, num_games=8)
    return dataclasses.replace(config, parallel=ParallelConfig(**parallel))


def quick_stage():
    """Its words are a toy's, and quick to compile."""
    model, _ = wide_model(embed_dim=64, mlp_dim=128, head_dim=16)
    return ring_stage(
        Origin("base", num_steps=100),
        model,
        Ring(32, 32, 32, 3, OptimizerConfig()),
        lambda weights, keys: (hindsight_targets(ToyTask(), keys, 0.4), {}),
        Learning(*step_learning(model, PAD)),
        StageFlops(produce=0.0, update=1e6),
    )


def stage_of(config, name):
    return next(stage for stage in build_stages(Lineage(config)) if stage.name == name)


def both_ways(config, stage, devices=None, options=None):
    """A stage's plan for eight devices by their compiler, and as an estimate for eight that have no
    memory to speak of; fake ones are at hand."""
    mesh = make_mesh(config.parallel, devices)
    small = V5E._replace(memory=1e4)
    return [
        plan_stage(Lineage(config), stage, mesh, chip, options)
        for chip, options in ((V5E, options or {}), (small, None))
    ]


def check_estimate(compiled, estimate):
    sizes = compiled["bytes_per_device"]
    arguments = sum(sizes[name] for name in (*HELD, "layout padding"))  # the compiler's own number
    estimated = sum(estimate["bytes_per_device"][name] for name in HELD)
    assert estimated == pytest.approx(arguments, rel=0.15)
    assert estimate["flops_per_device"] == pytest.approx(compiled["flops_per_device"], rel=0.15)
    assert (compiled["estimate"], estimate["estimate"]) == (False, True)
    assert estimate["bytes_per_device"]["temporaries"] > 0  # it is an estimate, and said to be
    assert set(estimate["roofline_seconds"]) == {"compute"} and not estimate["collectives"]
    assert set(compiled["roofline_seconds"]) == {"compute", "memory", "links"}
    assert (compiled["fits"], estimate["fits"]) == (True, False)
    assert compiled["shrink"] is None and estimate["shrink"]["bytes"] > 1e4


def test_an_estimate_is_near_what_the_compiler_says_of_eight_devices():
    compiled, estimate = both_ways(language(data=4, model=2), quick_stage())
    check_estimate(compiled, estimate)
    assert {axis for row in compiled["collectives"] for axis in row["axes"]} == {"data", "model"}
    assert compiled["forbidden_collectives"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "name"),
    [(language(data=4, model=2), "distilled"), (board(data=4, model=2), "self_play")],
)
def test_an_estimate_of_a_search_is_near_what_the_compiler_says(config, name):
    compiled, estimate = both_ways(config, stage_of(config, name))
    check_estimate(compiled, estimate)
    for stage in (compiled, estimate):
        assert 0 < stage["search_share"] < 1
        assert stage["bytes_per_device"]["search tree"] > 0
    assert compiled["forbidden_collectives"] == []


def test_fewer_problems_than_devices_are_planned_at_one_each():
    config = language(accumulate=2)
    changed, larger = split_evenly(config, 64)
    teaching = {"num_problems": [8, 64], "batch_size": [16, 128], "replay_size": [24, 192]}
    assert changed == {
        "base.batch_size": [16, 128],
        **{f"distilled.teaching.{name}": sizes for name, sizes in teaching.items()},
        **{f"control.teaching.{name}": sizes for name, sizes in teaching.items()},
    }
    assert Lineage(larger).stage("distilled").teaching.replay_size == 64 * 3
    assert split_evenly(config, 4) == ({}, config)
    changed, larger = split_evenly(revising(config), 32)
    assert {name for name in changed if name.startswith("revision.")} == {"revision.num_problems"}
    assert Lineage(larger).stage("revision").num_problems == 32
    # What is more than one a device, and no multiple of the devices.
    odd = {"num_problems": 24, "batch_size": 96, "replay_size": 24 * 3}
    changed, larger = split_evenly(with_stage(config, "distilled", teaching=odd), 16)
    assert changed["distilled.teaching.num_problems"] == [24, 32]
    assert "distilled.teaching.batch_size" not in changed
    assert changed["distilled.teaching.replay_size"] == [72, 96]
    changed, larger = split_evenly(board(), 16)
    assert changed == {"self_play.num_games": [8, 16], "self_play.batch_size": [8, 16]}


def test_the_largest_term_and_the_field_that_shrinks_it_are_named():
    config = language()
    needs = {"parameters": 4e9, "optimiser": 8e9, "replay": 1e9, "temporaries": 5e9}
    assert shrinking_field(config, "base", needs, "update")["field"] == "model.num_layers"
    needs |= {"temporaries": 20e9, "search tree": 9e9}
    assert shrinking_field(config, "distilled", needs, "collect") == {
        "term": "search tree",
        "bytes": 20e9,
        "field": "distilled.search.num_simulations",
    }
    needs |= {"search tree": 1e9}
    assert shrinking_field(config, "distilled", needs, "update")["field"] == "parallel.accumulate"
    found = shrinking_field(config, "distilled", needs, "search")["field"]
    assert found == "distilled.teaching.num_problems"
    needs |= {"replay": 30e9}
    found = shrinking_field(config, "distilled", needs, "update")["field"]
    assert found == "distilled.teaching.replay_size"


def revising(config):
    return dataclasses.replace(config, stages=(*config.stages, Revision()))


def test_every_stage_has_fields_that_shrink_it():
    experiments = revising(tiny_experiment()), verifier_experiment(), board()
    names = [(config, stage.name) for config in experiments for stage in config.stages]
    assert len({name for _, name in names}) == 7
    for config, name in names:
        needs = {"parameters": 1.0, "replay": 2.0}
        found = shrinking_field(config, name, needs, "update")
        assert found["term"] == "replay"
        *path, field = found["field"].split(".")
        owner = functools.reduce(getattr, path[1:], Lineage(config).stage(path[0]))
        assert isinstance(getattr(owner, field), int)  # and there is such a field


def test_searches_that_wait_for_each_other_are_an_error():
    def collective(axes, loops):
        return Collective("all-reduce", axes, loops, "jit(step)/collect/shard_map/x")

    loop = ("jit(step)/collect/shard_map/while",)
    found = [
        collective(("data",), loop),
        collective(("replica", "model"), (*loop, "jit(step)/other/while")),
    ]
    fine = [
        collective(("model",), loop),
        collective(("data",), ()),
        collective(("data",), ("jit(step)/update/while",)),
    ]
    assert forbidden(found + fine) == found


@pytest.fixture
def config_file_of(tmp_path):
    def write(config) -> str:
        return write_config_file(tmp_path / "mine.py", config)

    return write


@pytest.mark.parametrize(("pod", "extra"), [("v5e-32", "tpu"), ("h100-8x4", "cuda")])
def test_the_command_says_that_it_estimates_and_what_it_changed(
    pod, extra, config_file_of, monkeypatch
):
    monkeypatch.setattr(plan_module, "has_compiler", lambda topology: False)
    asked = ["plan", config_file_of(language()), "--topology", pod, "--stages", "base"]
    code, out, _ = call(*asked, "--json")
    result = json.loads(out)
    assert code == 0 and (result["fits"], result["estimate"], result["chips"]) == (True, True, 32)
    assert result["changed"]["base.batch_size"] == [16, 32]
    (stage,) = result["stages"]

    def wrong(*_):
        shrink = {"term": "activations", "bytes": 2.0**34, "field": "parallel.accumulate"}
        told = {"kind": "all-reduce", "axes": ["data"]}
        return stage | {"fits": False, "shrink": shrink, "forbidden_collectives": [told]}

    monkeypatch.setattr(plan_module, "plan_stage", wrong)
    code, out, _ = call(*asked)
    assert code == 1
    assert f"by no compiler: the extra {extra}, which has it, is not installed." in out
    assert "base, on each device (an estimate)" in out
    assert "Too few problems or rows for so many devices, or no multiple of them" in out
    assert "base.batch_size 32 for 16" in out
    assert "DOES NOT FIT: the largest term is activations, 16 GiB a device" in out
    assert "parallel.accumulate shrinks it" in out
    assert "ERROR: all-reduce over data in a loop of searching" in out


def test_a_wrong_name_gets_one_sentence(config_file_of):
    mine = config_file_of(language())
    assert "no topology 'v5e-15': the nearest is v5e-1" in fail("plan", mine, "--topology=v5e-15")
    sentence = fail("plan", mine, "--topology", "v5e-4", "--stages", "bass")
    assert "there is no stage 'bass': the config trains base, distilled, control" in sentence
    # It is no field of the config here: a stage is planned whose start is not.
    stages = "--stages", "distilled", "--parallel.data", "2"
    sentence = fail("plan", mine, "--topology", "v5e-4", *stages)
    assert "parallel.replica x data x model is 2: v5e-4 has 4 chips" in sentence


@pytest.mark.slow
@HAS_CUDA
@pytest.mark.parametrize(
    ("config", "name", "pod"),
    [
        (language(data=4, model=2), "distilled", "h100-8"),
        (board(data=8), "self_play", "h200-8"),
    ],
)
def test_the_compiler_of_gpus_computes_what_the_estimate_says(config, name, pod):
    devices = devices_of(find_topology(pod))
    compiled, estimate = both_ways(config, stage_of(config, name), devices, CUDA.options)
    check_estimate(compiled, estimate)
    assert compiled["search_share"] == pytest.approx(estimate["search_share"], abs=0.1)
    assert compiled["forbidden_collectives"] == []
    axes = {axis for row in compiled["collectives"] for axis in row["axes"]}
    assert axes == ({"data", "model"} if config.parallel.model == 2 else {"data"})
    assert any(row["axes"] == ["data"] for row in compiled["collectives"])


@pytest.mark.slow
@HAS_CUDA
def test_what_does_not_fit_a_gpu_is_found_though_its_compiler_lets_it_pass(config_file_of):
    large = "--stages=base", "--base.batch_size=16777216"
    code, out, _ = call("plan", config_file_of(language()), "--topology=h100-8", *large)
    assert code == 1
    assert "Compiled by jax-cuda12-pjrt " in out
    assert "DOES NOT FIT: the largest term is " in out
    assert re.search(r"a device: [\w.]+ shrinks it$", out, re.M)


@pytest.mark.slow
@HAS_LIBTPU
def test_the_compiler_of_tpus_plans_a_search():
    result = plan(board(), "v5e-16")
    (stage,) = result["stages"]
    assert result["compiler"].startswith("libtpu ") and not result["estimate"]
    assert result["changed"] == {"self_play.num_games": [8, 16], "self_play.batch_size": [8, 16]}
    assert result["fits"] and stage["forbidden_collectives"] == []
    assert stage["bytes_per_device"]["generated code"] > 0
    assert any(row["axes"] == ["data"] for row in stage["collectives"])


@pytest.mark.slow
@HAS_LIBTPU
def test_what_does_not_fit_a_tpu_is_refused_by_its_compiler():
    config = with_stage(board(), "self_play", num_games=2**26, replay_moves=6)
    (stage,) = plan(config, "v5e-4")["stages"]
    assert not stage["fits"] and "exceeds available HBM" in stage["refused"]
    assert stage["shrink"]["field"].startswith("self_play.")
    assert stage["shrink"]["bytes"] > stage["memory_bytes"]  # as the compiler says


PODS = [
    (path.stem, match[0])
    for path in sorted(CONFIGS.glob("*.py"))
    if (match := POD.search(path.read_text().partition('"""\n')[0]))
    # Open models' are planned in tests/test_open_configs.py: their folders are no part of this.
    and not isinstance(config_file.load(str(path)).model, Pretrained)
]


def test_docstrings_of_configs_name_pods_that_there_are():
    assert {"arithmetic", "chess", "connect_four", "game24"} <= {name for name, _ in PODS}
    assert {pod for _, pod in PODS} <= set(topologies())


@pytest.mark.slow
@HAS_LIBTPU
@pytest.mark.parametrize(("name", "pod"), PODS)
def test_a_config_fits_the_pod_that_its_docstring_names(name, pod):
    result = plan(config_file.load(str(CONFIGS / f"{name}.py")), pod)
    assert result["fits"] and result["separate_searches"]
    assert jax.default_backend() == "cpu"


@pytest.mark.slow
@HAS_LIBTPU
def test_the_page_of_pods_shows_what_the_command_prints():
    command = re.search("^rlsearch (plan .*)$", PAGE, re.M)
    assert command
    shown = PAGE.partition("The first of them prints")[2].split("```")[1].strip()
    code, out, _ = call(*command[1].split())
    assert code == 0
    compiler = re.search("Compiled by .*[.] ", out)
    if compiler and compiler[0] in shown:
        assert out.strip() == shown
    else:  # another version: other figures, and other collectives
        assert labels(out) == labels(shown)


def labels(text: str) -> list[str]:
    """What a plan has a figure for, without the collectives."""
    rows = text.partition("a step takes")[0].splitlines()
    return [row[:36] for row in rows if row.startswith("  ")]
