"""Commands and programs of README.md and docs/ that are quick do what the pages say.

They are typed, line for line, where the configs of their names are tiny ones. What takes long even
then (whole suites, sweeps, tournaments, throughput) is parsed in `test_docs.py`, and has tests of
its own in `tests/cli`.
"""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import pytest

from rlsearch.config import Adapter, Experiment
from rlsearch.config_file import load
from rlsearch.runs.lineage import Lineage
from rlsearch.training.loop import build_stages
from tests.boards import tiny_board_experiment
from tests.commands import call
from tests.doc_pages import COMMANDS, blocks, split, write_programs
from tests.pretrained.folders import open_folder
from tests.pretrained.packed import write
from tests.tiny import tiny_experiment, with_stages, words_experiment, write_config_file

MODEL = "models/SmolLM2-135M-Instruct"  # of random weights, and small
WORDS = words_experiment(MODEL, "data/mine")
CONFIGS = {
    "game24": with_stages(tiny_experiment(), "base", "distilled"),
    "tic_tac_toe": tiny_board_experiment(),
    "smollm2_sums": dataclasses.replace(
        WORDS, model=dataclasses.replace(WORDS.model, adapter=Adapter(rank=2))
    ),
}
RUNS = ("runs/game24", "runs/game12", "runs/imitation", "runs/tic_tac_toe", "runs/smollm2_sums")
FILES = [block.partition("\n")[0].removeprefix("# ") for block in blocks("python")]
# What a training with a class of the reader's own leaves out.
LESS = {
    "my_tasks.py": ["--stages", "base"],
    "my_games.py": ["--self_play.reanalysed", "0"],
    "own_stage.py": ["--imitation.num_steps", "2"],
}


def shortened(line: str) -> list[str] | None:
    """The words behind `rlsearch`, with options that make it quick; None for what stays slow."""
    _, (_, command, subject, *options) = split(line)
    words, own = [command, subject, *options], "--code" in options
    if subject == MODEL:
        return of_open_model(command, words)
    if command == "train" and subject in CONFIGS and (own or not options):
        return [*words, *LESS[options[options.index("--code") + 1]]] if own else words
    if command in ("report", "export", "import") and "sweep" not in subject:
        return words
    if subject not in RUNS:
        return None
    if command in ("solve", "inspect"):
        return words + ([] if "tic_tac_toe" in subject else ["--budget", "2"])
    if command == "play":
        return words
    if command == "evaluate" and (own or set(options) <= {"--budgets", "1", "4", "16", "64"}):
        words += [
            "--problems",
            "2",
            "--budgets",
            "2",
            "--seeds",
            "0",
            "--policies",
            "base",
            "--json",
        ]
        for name, policy in (("imitation", "imitation"), ("smollm2", "pretrained")):
            if name in subject:
                words[words.index("--policies", words.index("--problems")) + 1] = policy
        return [*words, "--strategies", "best_of_n"] if subject == "runs/game12" else words
    return None


def of_open_model(command: str, words: list[str]) -> list[str] | None:
    """The words of a command on an open model, with few tokens; None for what stays slow."""
    by = ["--max-steps", "2"] if "--strategies" in words else ["--samples", "2"]
    few = {
        "chat": ["--max-tokens", "4", "--reasoning-tokens", "4"],
        "evaluate": ["--problems", "2", "--max-tokens", "4", *by],
    }
    generated = "--task" in words and "--data-dir" not in words  # by a library of an extra
    return [*words, *few[command]] if command in few and not generated else None


LINES = [line for line in COMMANDS if shortened(line)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a reader, with the programs of the pages and tiny configs."""
    folder = tmp_path_factory.mktemp("reader")
    write_programs(folder)
    (folder / MODEL).mkdir(parents=True)
    open_folder(folder / MODEL)
    write(folder / "models" / "smollm2.gguf")
    for name in ("gsm8k", "mine"):
        (folder / "data" / name).mkdir(parents=True)
        for number, part in enumerate(("test", "train")):
            line = json.dumps({"question": f"What is {number} + 1?", "answer": "#### 2"})
            (folder / "data" / name / f"{part}.jsonl").write_text(f"{line}\n" * 3)
    for name, config in CONFIGS.items():
        write_config_file(folder / "configs" / f"{name}.py", dataclasses.replace(config, name=name))
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """What each line gives. They run once, trainings first, in the order of the pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {
            line: call(*shortened(line), lines="1\nquit\n")
            for line in sorted(LINES, key=lambda line: split(line)[1][1] != "train")
        }


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_a_quick_command_does_what_it_is_asked(results, line):
    code, out, err = results[line]
    assert code == 0, err
    assert out


def test_every_program_is_a_config_or_given_to_a_quick_command():
    typed = [word for line in LINES for word in split(line)[1]]
    assert [name for name in FILES if not name.startswith("configs/") and name not in typed] == []
    assert {split(line)[1][1] for line in LINES} >= {"train", "evaluate", "solve", "inspect"}


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("configs/")])
def test_a_config_of_the_pages_has_stages(folder, name, monkeypatch):
    monkeypatch.chdir(folder)
    config = load(str(folder / name))
    assert isinstance(config, Experiment) and f"configs/{config.name}.py" == name
    stages = build_stages(Lineage(config))
    assert {"distilled", "control"} <= {stage.name for stage in stages}


@pytest.mark.slow
def test_the_readers_own_classes_are_used(results, folder):
    (judged,) = (out for line, (_, out, _) in results.items() if "mine:Brief" in line)
    rows = json.loads(judged)["rows"]
    assert [(row["strategy"], row["verifier"]) for row in rows] == [
        ("best_of_n", "brief"),
        ("mine:WeakestStep", "brief"),
    ]
    task = sys.modules["my_tasks"].Game12(num_held_out=40)
    goals = {goal for _, goal in task.held_out_problems}
    assert goals == {12} and 10 < len(task.held_out_prompts()) <= 40
    config = json.loads((folder / "runs" / "game12" / "config.json").read_text())
    assert config["task"]["cls"] == "my_tasks:Game12"
    game = sys.modules["my_games"].Misere()
    state, step = game.reset(jax.random.key(0)), jax.jit(game.step)
    for action in (0, 3, 1, 4, 2):  # three in a row
        state = step(state, jnp.int32(action), jax.random.key(0))
    assert bool(state.terminated) and float(state.reward) == -1.0
    config = json.loads((folder / "runs" / "imitation" / "config.json").read_text())
    assert [stage["cls"] for stage in config["stages"]] == [
        "rlsearch.stages.traces:Traces",
        "own_stage:Imitation",
    ]
    (imitated,) = (out for line, (_, out, _) in results.items() if "--policies imitation" in line)
    assert {row["policy"] for row in json.loads(imitated)["rows"]} == {"imitation"}
