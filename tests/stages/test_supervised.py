"""Supervised fine-tuning: worked solutions are learnt, each as often as the others."""

import collections
import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import Lines, LogConfig, OptimizerConfig, ParallelConfig
from rlsearch.decoding.sampling import GREEDY
from rlsearch.measuring.opened import open_run
from rlsearch.parallel.mesh import row_keys
from rlsearch.planning.plan import plan
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.stages.supervised import Supervised, rows_of_step, targets_of, worked_solutions
from rlsearch.tasks.base import NO_TOKEN
from rlsearch.training.loop import train
from tests.pretrained.folders import END, open_folder
from tests.tiny import tiny_experiment, with_stages, words_experiment

STAGE = Supervised(
    num_steps=90, batch_size=16, optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2)
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An open model, and problems whose worked solutions end in their first digit."""
    model = open_folder(tmp_path_factory.mktemp("model"), scale=0.1)
    data = tmp_path_factory.mktemp("data")
    for split, first in (("test", 5), ("train", 10)):
        lines = [
            {"question": f"{i}?", "answer": f"so\n#### {str(i)[0]}"} for i in range(first, 90, 7)
        ]
        (data / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return model, data


def experiment(folders, stage=STAGE, **model):
    model_folder, data = folders
    config = words_experiment(str(model_folder), str(data))
    model = dataclasses.replace(config.model, max_tokens=16, lines=Lines(3, 12), **model)
    log = LogConfig(every_steps=1, checkpoint_seconds=0.0, keep_checkpoints=100)
    return dataclasses.replace(config, stages=(stage,), model=model, log=log)


def metrics_of(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(experiment(folders), str(folder))
    return folder


def test_solutions_are_learnt_word_for_word(run):
    rows = metrics_of(run)
    first, last = (np.mean([row["policy_loss"] for row in part]) for part in (rows[:3], rows[-3:]))
    assert last < 0.15 * first, (first, last)
    opened = open_run(str(run))
    writer, _ = opened.writer()
    prompts = jnp.asarray(opened.task.held_out_prompts())
    keys = row_keys(jax.random.key(0), len(prompts))
    line = jax.jit(lambda writer: writer.sample(prompts, keys, GREEDY)[0].line)(writer)
    assert writer.format.is_whole(line.tokens).all()
    texts = [opened.task.text(row) for row in np.asarray(line.tokens)]
    assert all(text.startswith("so\n") and "#### " in text for text in texts), texts


def test_a_stage_is_as_long_as_its_epochs(folders):
    config = experiment(
        folders, dataclasses.replace(STAGE, num_steps=0, num_epochs=3, batch_size=5)
    )
    lineage = Lineage(config)
    solutions = len(worked_solutions(lineage, "supervised")[0].prompts)
    assert solutions == 12
    assert lineage.num_steps("supervised") == -(-3 * solutions // 5)


@pytest.mark.parametrize(("size", "number"), [(5, 12), (12, 12), (30, 12), (1, 3)])
def test_every_epoch_has_each_row_once_in_an_order_of_its_own(size, number):
    steps = 4 * number
    rows = np.concatenate([rows_of_step(step, size, number, 7) for step in range(steps)])
    epochs = [tuple(rows[i : i + number]) for i in range(0, len(rows) - number + 1, number)]
    assert all(sorted(epoch) == list(range(number)) for epoch in epochs)
    assert len(set(epochs)) > 1
    other = np.concatenate([rows_of_step(step, size, number, 8) for step in range(steps)])
    assert (other != rows).any()
    assert collections.Counter(rows[: number * (len(rows) // number)]).most_common()[-1][1] > 0


def test_rows_hold_the_solution_and_weigh_each_of_its_steps_once(folders):
    lineage = Lineage(experiment(folders))
    (worked, _), format = worked_solutions(lineage, "supervised"), lineage.format
    targets = targets_of(worked, format)
    for row, steps in zip(worked.solutions, np.asarray(targets.steps), strict=True):
        tokens = steps.reshape(-1)
        assert tokens[tokens != NO_TOKEN].tolist() == row[row != NO_TOKEN].tolist()
        assert row[row != NO_TOKEN][-1] == END
    assert np.asarray(targets.weights).sum() == 2 * len(worked.prompts)  # two lines each
    assert not np.asarray(targets.value_weights).any()


def test_a_resumed_run_is_the_same(folders, run, tmp_path):
    short = dataclasses.replace(STAGE, num_steps=4)
    for name in ("whole", "cut"):
        train(experiment(folders, short), str(tmp_path / name))
    for step in ("3", "4"):
        shutil.rmtree(RunDirectory(tmp_path / "cut").checkpoints / "supervised" / step)
    train(experiment(folders, short), str(tmp_path / "cut"))
    whole, cut = (metrics_of(tmp_path / name) for name in ("whole", "cut"))
    assert [row["policy_loss"] for row in whole] == [row["policy_loss"] for row in cut]


def test_what_does_not_fit_is_left_out_and_said(folders, capsys):
    model, data = folders
    lines = [
        {"question": "1?", "answer": "a long story\n" * 3 + "#### 1"},
        {"question": "2?", "answer": "#### 2"},
    ]
    other = data.parent / "long"
    other.mkdir(exist_ok=True)
    for split in ("test", "train"):
        kept = lines if split == "train" else [{"question": "3?", "answer": "#### 3"}]
        (other / f"{split}.jsonl").write_text("\n".join(map(json.dumps, kept)) + "\n")
    stage = dataclasses.replace(STAGE, num_steps=1, batch_size=8)
    lineage = Lineage(experiment((model, other), stage))
    stage.build(lineage)
    assert "leaves out 1 worked solutions: they are longer than" in capsys.readouterr().err
    assert len(worked_solutions(lineage, "supervised")[0].prompts) == 1
    lineage = Lineage(experiment((model, other), stage))
    short = dataclasses.replace(lineage.config.model, max_tokens=2)
    with pytest.raises(
        ValueError, match="'supervised' learns worked solutions, and has none: they"
    ):
        stage.build(Lineage(dataclasses.replace(lineage.config, model=short)))


def test_a_task_of_its_own_language_has_none():
    config = with_stages(tiny_experiment(), "base")
    config = dataclasses.replace(config, stages=(*config.stages, Supervised(start="base")))
    with pytest.raises(ValueError, match="must be one in words that has some"):
        Lineage(config).num_steps("supervised")


def test_it_is_planned(folders):
    config = dataclasses.replace(experiment(folders), parallel=ParallelConfig())
    found = plan(config, "v5e-4")
    assert found["fits"] and [stage["stage"] for stage in found["stages"]] == ["supervised"]
