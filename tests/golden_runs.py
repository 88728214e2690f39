"""Runs what the goldens under tests/golden hold, and writes them again.

    python tests/golden_runs.py --write [stages] [strategies] [runs]

writes all of them, or those that are named, without a question, and in the settings of the tests.
What stands there is what the package computed when it was written: read the difference before it is
committed.

    stages/NAME.json   three steps of every stage of a tiny experiment: metrics, parameters, memory
    strategies.json    every strategy's answers to a few problems, by two verifiers
    runs/NAME/         config.json of each of configs/*.py, and three small runs as they were saved
    commands.json      what commands print about those saved runs

Every touch of the package is in this module, so that a change of its modules and signatures is
followed here, and no golden is written anew. The last digits of floats depend on the machine and
the compiler: `differences` lets them differ by 1e-6 (at XLA's own optimisation level all goldens
are the same to that, and not bit for bit). It is seldom that a draw or a comparison is so close
that it turns out otherwise elsewhere, but it cannot be excluded: then tokens and counts differ,
while the metrics of the steps before still agree.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import json
import pathlib
import shutil
import sys
import tempfile
import types
from typing import Any

if __name__ == "__main__":  # devices and compiler as in the tests, before JAX is imported
    _here = pathlib.Path(__file__).resolve().parent
    sys.path[0] = str(_here.parent)
    sys.modules["tests"] = types.ModuleType("tests")  # pgx installs a package of this name
    sys.modules["tests"].__path__ = [str(_here)]
    importlib.import_module("tests.conftest")

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch import config_file
from rlsearch.config import Experiment, SearchConfig, TransformerConfig
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.networks.language_model import LanguageModel
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.runs.checkpoints import stage_checkpoints
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.opening import experiment_of
from rlsearch.stages.revision import Revision
from rlsearch.stages.search_distillation import SearchDistillation
from rlsearch.stages.verifier import LabelsFrom
from rlsearch.strategies.base import NAMES, Budget, load_strategy
from rlsearch.studies.teachers import Teachers
from rlsearch.training import loop
from rlsearch.training.metrics import read_metrics
from rlsearch.verifiers.network import NetworkVerifier
from rlsearch.verifiers.value_head import ValueHead
from tests.boards import tiny_board_experiment
from tests.commands import read_json
from tests.tiny import tiny_experiment, with_stage, with_stages
from tests.toy import perturbed
from tests.verifier_run import verifier_experiment

FOLDER = pathlib.Path(__file__).resolve().parent / "golden"
# A config whose control now stands in a file of its own.
WITH_CONTROL = {"game24": "game24_control"}
# Configs that no run of format 1 was of.
NEWER = {"smollm2_sums", "gsm8k_qwen2_5_1_5b", "r1_distill_qwen_1_5b"}
CONFIGS = sorted(
    {path.stem for path in FOLDER.parents[1].joinpath("configs").glob("*.py")}
    - set(WITH_CONTROL.values())
    - NEWER
)
# Configs that learnt by SearchDistillation then, and for how many steps.
SEARCHED = {"game24": 80, "game24_tot": 800, "countdown": 80}
STEPS = 3  # of every stage
TOLERANCE = 1e-6  # of floats, relative and absolute
APART = ("seconds", "stage_step")  # of a line of metrics


# What is run.


def stage_experiments() -> dict[str, Experiment]:
    """Tiny experiments, by the name of their golden, that together have every kind of stage."""
    tiny = tiny_experiment()
    base, distilled, control = tiny.stages
    kept = {"replay_size": 36}  # the rows of all steps
    teaching = dataclasses.replace(distilled.teaching, **kept)
    distilled = dataclasses.replace(distilled, teaching=teaching)
    control = dataclasses.replace(control, teaching=teaching)

    def searching(**changes: Any) -> Experiment:
        search = dataclasses.replace(distilled.search, **changes)
        stages = base, dataclasses.replace(distilled, search=search)
        return dataclasses.replace(tiny, stages=stages)

    revision = Revision(
        start="base",
        num_steps=STEPS,
        num_problems=4,
        num_samples=4,
        replay_size=48,
        updates_per_step=1,
        batch_size=8,
        optimizer=teaching.optimizer,
    )

    def judging(names: tuple[str, ...] = ("orm", "prm"), **changes: Any) -> Experiment:
        config = verifier_experiment(names, num_steps=STEPS, replay_size=12, **changes)
        return with_stage(config, "base", num_steps=STEPS)

    return {
        "language": dataclasses.replace(
            tiny, stages=(base, distilled, control, revision)
        ),  # base, distilled by Gumbel's search over steps, control, revision
        "puct": searching(policy="puct", dirichlet_fraction=0.25),
        "top_tokens": searching(actions="top_tokens"),
        "tokens": searching(actions="tokens"),
        "verifiers": judging(),  # orm and prm, networks of their own
        "verifier_copy": judging(("prm",), network="copy"),
        "verifier_head": judging(("prm",), network="head"),
        # tic-tac-toe, with reanalysis
        "self_play": tiny_board_experiment(num_steps=STEPS, replay_moves=9),
    }


def saved_experiments() -> dict[str, Experiment]:
    """The experiments of which a whole run is kept, by the name of its directory."""
    # They are of a time at which a control counted its teacher's empty candidates too.
    tiny = with_stage(tiny_experiment(), "control", flops_with_empty=True)
    each = (tiny, tiny_board_experiment(), verifier_experiment())
    return {config.name: config for config in each}


def run_stages(name: str) -> dict[str, Any]:
    """What every stage of the experiment `name` did and ended with, by the stage's name."""
    config = stage_experiments()[name]
    with tempfile.TemporaryDirectory() as folder:
        train(config, folder)
        rows, ended = read_rows(folder), end_states(config, folder)
    return {
        stage: {
            "steps": {
                f"step {row['step']}": {k: v for k, v in row.items() if k not in APART}
                for row in rows
                if row["stage"] == stage
            },
            "parameters": {path: digest(x) for path, x in leaves(state["params"])},
            "memory": {path: digest(x) for path, x in leaves(state["memory"])},
        }
        for stage, state in ended.items()
    }


def train(config: Experiment, folder: str) -> dict[str, Any]:
    """Trains all stages in `folder`; the summary of the training."""
    return loop.train(config, folder)


def read_rows(folder: str) -> list[dict[str, Any]]:
    """The metrics of a run, one dict a step."""
    return read_metrics(RunDirectory(folder, create=False).metrics)


def end_states(config: Experiment, folder: str) -> dict[str, dict[str, Any]]:
    """`params` and `memory` that each stage of a run ended with, by the stage's name."""
    lineage, mesh = Lineage(config), make_mesh(config.parallel)
    directory, found = RunDirectory(folder, create=False), {}
    for stage in loop.build_stages(lineage):
        with stage_checkpoints(directory, lineage, stage.name) as checkpoints:
            abstract = loop.abstract_state(stage, mesh)._asdict()
            step, found[stage.name] = checkpoints.restore_latest(abstract)  # pyright: ignore
            assert step == stage.num_steps
    return found


STRATEGIES = NAMES
JUDGES = ("value_head", "network")


@functools.cache
def solvers() -> tuple[Writer, dict[str, Any], jax.Array, jax.Array]:
    """A policy with its weights, the verifiers, prompts `[B, P]` and their keys."""
    tiny = tiny_experiment()
    shape = dataclasses.replace(tiny.model, num_layers=2)
    lineage = Lineage(dataclasses.replace(tiny, model=shape))
    task, model = lineage.task, lineage.policy("base").model
    params = perturbed(model.init(jax.random.key(0)), 0.15)
    network = LanguageModel(TransformerConfig(**SMALL), task.vocab_size)
    # Of a freshly made network all scores are 0.5, and no strategy could tell them apart.
    judge = NetworkVerifier(
        perturbed(network.init(jax.random.key(1)), 0.15, seed=2), network, "network", "min"
    )
    prompts = jnp.asarray(task.held_out_prompts()[:NUM_PROBLEMS])
    keys = row_keys(jax.random.key(0), NUM_PROBLEMS)
    # What a random policy writes has as many answers as solutions: told apart by less, they vote.
    policy = Policy(model, lineage.format, lambda prompts, tokens: tokens[:, LAST_NUMBER] % 4 - 1)
    writer = Writer(policy, params)
    return writer, {"value_head": ValueHead(), "network": judge}, prompts, keys


SMALL = dict(
    num_layers=1, embed_dim=16, num_heads=1, num_kv_heads=1, head_dim=8, mlp_dim=16, value_dim=8
)
NUM_PROBLEMS, LAST_NUMBER = 5, -2  # where the last number of a solution stands
# In sampled solutions. Fewer finish no solution in a tree of what a random policy writes.
BUDGETS = {"greedy": 1, "tree_search": 16, "mcts_rollout": 16, "bfs_v": 16, "dfs_v": 16}
OTHERS = 8


def run_strategy(name: str, judge: str) -> dict[str, Any]:
    """What the strategy `name` answers and spends on a few problems, a list entry a problem.

    The tokens of the candidates are a hash a problem, in the order in which they were listed.
    """
    writer, judges, prompts, keys = solvers()
    strategy = load_strategy(name)
    solutions = BUDGETS.get(name, OTHERS)
    budget = Budget(solutions, solutions * writer.format.max_length)
    found = jax.jit(lambda *x: strategy.solve(*x, budget))(writer, judges[judge], prompts, keys)
    found = jax.tree.map(np.asarray, found)._asdict()

    def whole(x: np.ndarray) -> list:
        """A count a problem: what costs nothing is one zero for all."""
        return np.broadcast_to(x, (NUM_PROBLEMS,)).tolist()

    return {
        "settings": plain(strategy.settings(writer.policy, budget)),
        "answers": found["tokens"].tolist(),
        "answer scores": found["score"].tolist(),
        "candidates": [digest(tokens)["sha256"] for tokens in found["all_tokens"]],
        "candidates' scores": found["all_scores"].tolist(),
    } | {
        name: whole(found[name])
        for name in (
            *("generations", "policy_tokens", "verifier_tokens", "bad_scores"),
            *("context_tokens", "contexts"),
        )
    }


def reads_as(saved: str, name: str) -> bool:
    """Whether config.json with the text `saved` describes what configs/NAME.py does."""
    now = config_file.load(WITH_CONTROL.get(name, name))
    # What has been changed since.
    if name in WITH_CONTROL:
        now = with_stages(now, "base", "distilled", "control")
        now = with_stage(now, "control", flops_with_empty=True, min_p=0.0)
    if name in SEARCHED:
        old = SearchDistillation(
            search=SearchConfig(num_simulations=72, num_candidates=14),
            num_steps=SEARCHED[name],
            num_targets=2,
            decisions_per_search=3,
            teaching=Lineage(now).stage("distilled").teaching,
        )
        stages = [old if stage.name == "distilled" else stage for stage in now.stages]
        now = dataclasses.replace(now, stages=tuple(stages))
    if name == "arithmetic_labels":  # whose labels were made by a command
        now = with_stages(now, "prm")
        now = with_stage(now, "prm", labels=LabelsFrom("runs/arithmetic/labels/soft"))
    studies = [
        dataclasses.replace(study, policy_weight=None, seeds=()) if study.seeds == (0,) else study
        for study in now.evaluation
        if not isinstance(study, Teachers)
    ]
    now = dataclasses.replace(now, name=name, evaluation=tuple(studies))
    return experiment_of(json.loads(saved)) == now


def train_again(name: str, folder: str) -> dict[str, Any]:
    """Trains what is left of the run `name`, whose copy is in `folder`; the summary."""
    summary = train(saved_experiments()[name], folder)
    return {field: summary[field] for field in ("steps", "stages", "flops", "parameters")}


COMMANDS = {
    "evaluate a policy": ("tiny", "evaluate RUN --strategies greedy --budgets 1 --seeds 0"),
    "solve": ("tiny", "solve RUN PROBLEM --policy distilled --budget 2"),
    "evaluate by a verifier": (
        "tiny_arithmetic",
        "evaluate RUN --strategies best_of_n --budgets 2 --seeds 0 --verifier prm",
    ),
    "evaluate a game": ("tiny_board", "evaluate RUN --budgets 2 --seeds 0"),
}
PROBLEM = "4 9 10 13"


def run_command(name: str, runs: pathlib.Path) -> dict[str, Any]:
    """What the command `name` prints as JSON; `runs` is a copy, into which it may write.

    Times and paths are left out.
    """
    run, line = COMMANDS[name]
    named = {"RUN": str(runs / run), "PROBLEM": PROBLEM}
    return timeless(read_json(*(named.get(word, word) for word in line.split())))


def timeless(value: Any) -> Any:
    """JSON without what differs from one time to the next."""
    if isinstance(value, dict):
        left_out = ("seconds", "table", "picture", "run")
        return {key: timeless(item) for key, item in value.items() if key not in left_out}
    return [timeless(item) for item in value] if isinstance(value, list) else value


# How it is written down and compared.


def leaves(tree: Any) -> list[tuple[str, Any]]:
    """The arrays of a pytree, each with its path."""
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(jax.tree_util.keystr(path, simple=True, separator="."), x) for path, x in found]


def digest(x: Any) -> dict[str, Any]:
    """What an array holds in short: whole numbers by a hash, others by sums and some entries."""
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating):
        values = np.ascontiguousarray(x.astype("<i8"))  # of whatever dtype the numbers are
        name = hashlib.sha256(values.tobytes()).hexdigest()
        return {"shape": list(x.shape), "total": int(values.sum()), "sha256": name}
    values = x.astype(np.float64)
    places = sorted({0, x.size // 3, 2 * x.size // 3, x.size - 1})
    return {
        "shape": list(x.shape),
        "sum": float(values.sum()),
        "absolute sum": float(np.abs(values).sum()),
        "entries": {str(place): float(values.flat[place]) for place in places},
    }


def plain(value: Any) -> Any:
    """`value` as JSON gives it back."""
    return json.loads(json.dumps(value))


def differences(recorded: Any, found: Any, path: tuple[str, ...] = ()) -> list[str]:
    """One line for each place in which `found` differs: floats by more than `TOLERANCE`."""
    where = ", ".join(path) or "the whole"
    if isinstance(recorded, dict) and isinstance(found, dict):
        lines = [f"{where}: {key!r} is missing" for key in recorded if key not in found]
        lines += [f"{where}: {key!r} is new" for key in found if key not in recorded]
        for key in recorded:
            if key in found:
                lines += differences(recorded[key], found[key], (*path, key))
        return lines
    if isinstance(recorded, list) and isinstance(found, list):
        if len(recorded) != len(found):
            return [f"{where}: {len(found)} entries, recorded {len(recorded)}"]
        pairs = zip(recorded, found, strict=True)
        each = [differences(*pair, (*path, f"[{i}]")) for i, pair in enumerate(pairs)]
        return [line for lines in each for line in lines]
    if type(recorded) is float and type(found) is float:
        same = abs(recorded - found) <= TOLERANCE * (1 + abs(recorded))
    else:
        same = type(recorded) is type(found) and recorded == found
    return [] if same else [f"{where}: {found!r}, recorded {recorded!r}"]


def golden(*names: str) -> Any:
    """A golden that is JSON."""
    return json.loads(FOLDER.joinpath(*names).read_text())


def write(value: Any, *names: str) -> None:
    """Writes a golden, innermost lists and objects of numbers on one line."""
    path = FOLDER.joinpath(*names)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(compact(value) + "\n")
    print(f"wrote {path.relative_to(FOLDER.parent)}: {path.stat().st_size} bytes")


def compact(value: Any, indent: str = "") -> str:
    """JSON whose lines are read and compared with ease."""
    line = json.dumps(value, allow_nan=False)
    if not isinstance(value, dict | list) or len(indent) + len(line) <= 100 or not value:
        return line
    inner = f"{indent} "
    if isinstance(value, list):
        open_, close, items = "[", "]", [compact(item, inner) for item in value]
    else:
        open_, close = "{", "}"
        items = [f"{json.dumps(key)}: {compact(item, inner)}" for key, item in value.items()]
    body = ",\n".join(f"{inner}{item}" for item in items)
    return f"{open_}\n{body}\n{indent}{close}"


# Writing.


def write_stages() -> None:
    for name in stage_experiments():
        write(run_stages(name), "stages", f"{name}.json")


def write_strategies() -> None:
    found = {name: {judge: run_strategy(name, judge) for judge in JUDGES} for name in STRATEGIES}
    write(found, "strategies.json")


def write_runs() -> None:
    """Trains the runs to keep, and records what commands say of them."""
    for name, config in saved_experiments().items():
        kept = FOLDER / "runs" / name
        shutil.rmtree(kept, ignore_errors=True)
        train(config, str(kept))
        shutil.rmtree(kept / "tensorboard")  # its files are named after the machine
        starts = kept / "environment.json"
        anonymous = [of_nobody(start) for start in json.loads(starts.read_text())]
        starts.write_text(json.dumps(anonymous, indent=2) + "\n")
        for path in (kept / "checkpoints").iterdir():
            if path.is_dir() and not path.with_name(f"{path.name}.permanent").exists():
                shutil.rmtree(path)  # not the last of its stage
        for path in kept.rglob("commit_success.txt"):
            path.write_text("Checkpoint commit was successful")  # without the path
    with copied_runs() as runs:
        again = {name: train_again(name, str(runs / name)) for name in saved_experiments()}
        said = {name: run_command(name, runs) for name in COMMANDS}
    write({"trained again": again, **said}, "commands.json")


def of_nobody(start: dict[str, Any]) -> dict[str, Any]:
    """An entry of environment.json without what tells the machine and the time."""
    unknown = {
        "started": "2000-01-01T00:00:00+00:00",
        "command": ["rlsearch", "train"],
        "platform": "",
        "git_revision": None,
        "first_step_seconds": dict.fromkeys(start["first_step_seconds"], 1.0),
    }
    return start | unknown


@contextlib.contextmanager
def copied_runs():
    """A folder with a copy of the saved runs: commands write into the run that they are about."""
    with tempfile.TemporaryDirectory() as folder:
        for name in saved_experiments():
            shutil.copytree(FOLDER / "runs" / name, pathlib.Path(folder) / name)
        yield pathlib.Path(folder)


WRITERS = {
    "stages": write_stages,
    "strategies": write_strategies,
    "runs": write_runs,
}


def main(arguments: list[str]) -> None:
    chosen = [name for name in arguments if name != "--write"]
    if "--write" not in arguments or not set(chosen) <= set(WRITERS):
        sys.exit(f"usage: python tests/golden_runs.py --write [{'] ['.join(WRITERS)}]")
    for name in chosen or WRITERS:
        WRITERS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
