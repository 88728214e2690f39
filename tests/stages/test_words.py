"""Open models learn from problems in words: a small one of random weights."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from rlsearch.config import (
    Adapter,
    Experiment,
    LogConfig,
    OptimizerConfig,
    ParallelConfig,
    Pretrained,
    SearchConfig,
    TransformerConfig,
)
from rlsearch.config_data import from_data, to_data
from rlsearch.measuring.opened import open_run
from rlsearch.networks.by_name import of_names
from rlsearch.parallel.mesh import make_mesh
from rlsearch.pretrained.opened import open_model
from rlsearch.runs.checkpoints import stage_checkpoints
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.parameters import load_params
from rlsearch.stages.expert_iteration import ExpertIteration
from rlsearch.stages.labelling import Labelling
from rlsearch.stages.policy_gradient import PolicyGradient
from rlsearch.stages.teaching import Teaching
from rlsearch.stages.traces import Traces
from rlsearch.stages.tree_distillation import TreeDistillation
from rlsearch.stages.verifier import LabelsFrom, Verifier
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.studies.accuracy import Accuracy
from rlsearch.tasks.chat import Chat
from rlsearch.training.loop import train
from rlsearch.training.state import abstract_state
from tests.commands import fail, read_json, succeed
from tests.pretrained.folders import END, open_folder
from tests.tiny import tiny_experiment, words_experiment

TEACHING = Teaching(
    num_problems=16,
    task_fraction=1.0,
    critic_samples=0,
    traces=0,
    replay_size=64,
    batch_size=32,
    updates_per_step=1,
    optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2),
)
STAGES = (
    TreeDistillation(
        "distilled",
        start="pretrained",
        num_steps=30,
        num_targets=2,
        search=SearchConfig(
            policy="draw",
            trust=0.0,
            num_simulations=16,
            num_candidates=4,
            max_tokens=64,
            tilt=3.0,
            min_p=0.0,
        ),
        teaching=TEACHING,
    ),
    ExpertIteration("control", start="pretrained", num_steps=30, num_samples=8, teaching=TEACHING),
    PolicyGradient(
        "reinforced", start="pretrained", num_steps=60, num_samples=8, teaching=TEACHING
    ),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An open model, whose texts often end, and problems whose answer is always 7."""
    ends = [END, *range(200, 240)]
    model = open_folder(tmp_path_factory.mktemp("model"), scale=0.1, eos_token_id=ends)
    data = tmp_path_factory.mktemp("data")
    for split, first in (("test", 0), ("train", 100)):
        lines = [{"question": f"{i}?", "answer": "7"} for i in range(first, first + 20, 3)]
        (data / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return model, data


@pytest.fixture(scope="module")
def config(folders):
    model, data = folders
    return dataclasses.replace(
        words_experiment(str(model), str(data)),
        stages=STAGES[:1],
        evaluation=(Accuracy(strategies=(Greedy(), BestOfN()), budgets=(1, 4), seeds=(0,)),),
        log=LogConfig(every_steps=1),
    )


def only(config, stage, **changes):
    return dataclasses.replace(config, stages=(stage,), **changes)


def metrics_of(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_policy_comes_to_say_what_is_right(config, stage, tmp_path):
    train(only(config, stage), str(tmp_path))
    rows = metrics_of(tmp_path)
    fact = "sample_accuracy" if "sample_accuracy" in rows[0] else "right_solutions"
    before, after = (np.mean([row[fact] for row in part]) for part in (rows[:5], rows[-5:]))
    assert after > 4 * before + 0.01, (before, after)
    assert all(0 <= row["cut"] <= 1 for row in rows) and any(row["cut"] > 0 for row in rows)
    assert all(
        np.isfinite(list(v for v in row.values() if isinstance(v, float))).all() for row in rows
    )


def test_a_run_begins_with_the_open_model_and_is_measured_beside_it(config, tmp_path):
    short = dataclasses.replace(STAGES[1], num_steps=12)
    train(only(config, short), str(tmp_path))
    opened = open_run(str(tmp_path))
    assert opened.policies() == {"pretrained": 0, "control": 12}
    assert opened.default_policy() == "control"
    known = opened.task.held_out_texts()[0]
    for problem, judged in ((known, (True, False)), ("1 + 1?", (None,))):
        found = read_json("solve", tmp_path, problem, "--budget", "2")
        assert found["problem"] == problem and found["right"] in judged
        page = read_json("inspect", tmp_path, problem, "--budget", "16")
        assert page["nodes"] > 1 and page["problem"] == problem
    said = fail("solve", tmp_path, "<|end|>")
    assert "problem is '<|end|>': it must not hold '<|end|>'" in said
    rows = read_json("evaluate", tmp_path, "--problems", 3)["rows"]
    assert {row["policy"] for row in rows} == {"pretrained", "control"}
    assert {row["problems"] for row in rows} == {3}


def test_what_was_learnt_leaves_as_a_folder_of_its_family(config, tmp_path):
    train(only(config, dataclasses.replace(STAGES[1], num_steps=2)), str(tmp_path / "run"))
    succeed("export", tmp_path / "run", tmp_path / "out")
    opened = open_run(str(tmp_path / "run"))
    writer, _ = opened.writer("control")
    again = open_model(tmp_path / "out", make_mesh(config.parallel))
    heads = [params.pop("value_head") for params in (writer.params, again.params)]
    assert heads[0].keys() == heads[1].keys()
    jax.tree.map(np.testing.assert_array_equal, writer.params, again.params)
    assert again.tokenizer.encode("12.\n") == opened.task.tokenizer.encode("12.\n")
    written = (tmp_path / "out" / "rlsearch.json").read_text()
    assert config.model.folder not in written and config.task.data_dir not in written
    assert "library_name: transformers" in (tmp_path / "out" / "README.md").read_text()


def adapted(config, stage, folder):
    """Trains an adapter, and returns the run."""
    learnt = ("adapter", "value_head")
    optimizer = OptimizerConfig(learning_rate=3e-2, warmup_steps=2, learnt=learnt)
    stage = dataclasses.replace(
        stage, teaching=dataclasses.replace(stage.teaching, optimizer=optimizer)
    )
    model = dataclasses.replace(config.model, adapter=Adapter(rank=4, alpha=8.0))
    train(only(config, stage, model=model), str(folder))
    return open_run(str(folder))


def test_an_adapter_learns_and_leaves_the_open_model_as_it_is(config, tmp_path):
    (tmp_path / "model").mkdir()  # whose embeddings, which stay, are large enough to say something
    folder = open_folder(tmp_path / "model", scale=0.5, eos_token_id=[END, *range(200, 240)])
    model = dataclasses.replace(config.model, folder=str(folder))
    config = dataclasses.replace(config, model=model)
    run = adapted(config, STAGES[1], tmp_path / "run")
    rows = metrics_of(tmp_path / "run")
    before, after = (np.mean([r["sample_accuracy"] for r in x]) for x in (rows[:5], rows[-5:]))
    assert after > 4 * before + 0.01, (before, after)
    came = open_model(config.model.folder, make_mesh(config.parallel)).params
    params = params_of(run, "control")
    rest = {name for name, x in flat(params).items() if name not in flat(came)}
    assert rest and all("/adapter/" in name for name in rest)
    for name, x in flat(came).items():
        if "value_head" not in name:
            np.testing.assert_array_equal(x, flat(params)[name])
    # What is carried from step to step for the optimiser is of the adapter and the value head.
    lineage = Lineage(run.config)
    stage = lineage.stage("control").build(lineage)
    state = abstract_state(stage, make_mesh(config.parallel))
    moments, learnt = (
        sum(x.size for x in jax.tree.leaves(tree))
        for tree in (state.optimizer, of_names(state.params, ("adapter", "value_head")))
    )
    assert 2 * learnt <= moments < 2 * learnt + 9


def params_of(run, stage):
    lineage = Lineage(run.config)
    model, step = lineage.model(stage), lineage.num_steps(stage)
    with stage_checkpoints(run.directory, lineage, stage) as checkpoints:
        return load_params(checkpoints, step, model, make_mesh(run.config.parallel))


def flat(params):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): x
        for path, x in jax.tree.leaves_with_path(params)
    }


def test_an_adapter_leaves_in_the_weights_or_alone(config, tmp_path):
    short = dataclasses.replace(STAGES[1], num_steps=3)
    run = adapted(config, short, tmp_path / "run")
    number = read_json("export", tmp_path / "run", tmp_path / "out")["parameters"]
    again = open_model(tmp_path / "out", make_mesh(config.parallel))
    assert number == sum(x.size for x in jax.tree.leaves(again.params))
    merged = run.writer("control")[0].params
    for name, x in flat(again.params).items():
        if "value_head" not in name:
            np.testing.assert_array_equal(x, flat(merged)[name])
    number = read_json("export", tmp_path / "run", tmp_path / "alone", "--adapter")["parameters"]
    assert {x.name for x in (tmp_path / "alone").iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors", "README.md", "rlsearch.json"),
    }
    assert "library_name: peft" in (tmp_path / "alone" / "README.md").read_text()
    said = json.loads((tmp_path / "alone" / "adapter_config.json").read_text())
    assert (said["r"], said["lora_alpha"], said["peft_type"]) == (4, 8.0, "LORA")
    before, after = (
        safetensors.numpy.load_file(folder / "model.safetensors")
        for folder in (Path(config.model.folder), tmp_path / "out")
    )
    pairs = safetensors.numpy.load_file(tmp_path / "alone" / "adapter_model.safetensors")
    assert number == sum(x.size for x in pairs.values())
    changed = 0
    for name, weight in before.items():
        place = "base_model.model." + name.removesuffix(".weight")
        if f"{place}.lora_A.weight" in pairs:
            a, b = (pairs[f"{place}.lora_{side}.weight"] for side in "AB")
            assert a.shape == (4, weight.shape[1]) and b.shape == (weight.shape[0], 4)
            assert name.split(".")[-2] in said["target_modules"]
            weight = weight + 8.0 / 4 * b @ a
            changed += 1
        np.testing.assert_allclose(after[name], weight, atol=1e-5)
    assert changed == 14 == len(pairs) // 2
    train(only(config, short), str(tmp_path / "plain"))
    said = fail("export", tmp_path / "plain", tmp_path / "x", "--adapter")
    assert "it has no adapter" in said and not (tmp_path / "x").exists()


def test_a_stage_that_learns_nothing_says_so(config, tmp_path, capsys):
    for split, text in (("train", "1?"), ("test", "2?")):
        line = json.dumps({"question": text, "answer": "31415926"})
        (tmp_path / f"{split}.jsonl").write_text(f"{line}\n" * 3)
    task = dataclasses.replace(config.task, data_dir=str(tmp_path))
    stage = dataclasses.replace(STAGES[1], num_steps=12)
    train(dataclasses.replace(only(config, stage), task=task), str(tmp_path / "run"))
    said = capsys.readouterr().err
    assert said.count("control: none of the problems of 10 steps were solved") == 1


def test_names_of_no_parameter_are_refused(config, tmp_path):
    with pytest.raises(
        ValueError, match="names of parameters are .'adapter', 'value'.: they must be among"
    ):
        optimizer = OptimizerConfig(learnt=("adapter", "value"))
        teaching = dataclasses.replace(TEACHING, optimizer=optimizer)
        train(only(config, dataclasses.replace(STAGES[1], teaching=teaching)), str(tmp_path / "x"))


@pytest.mark.slow
def test_the_peer_reads_an_adapter(config, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    peft = pytest.importorskip("peft", reason="peft is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    run = adapted(config, dataclasses.replace(STAGES[1], num_steps=3), tmp_path / "run")
    succeed("export", tmp_path / "run", tmp_path / "alone", "--adapter")
    base = transformers.AutoModelForCausalLM.from_pretrained(config.model.folder)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "alone").eval()
    tokens = np.arange(20).reshape(2, 10)
    with torch.no_grad():
        wanted = theirs(torch.tensor(tokens)).logits.numpy()
    writer, _ = run.writer("control")
    model = writer.policy.model
    hidden, _ = model.read(writer.params, jax.numpy.asarray(tokens))
    np.testing.assert_allclose(model.policy_logits(writer.params, hidden), wanted, atol=1e-4)


def test_nothing_depends_on_the_mesh(config, tmp_path):
    stage = dataclasses.replace(STAGES[0], num_steps=2)
    found = []
    for name, parallel in (("one", (1, 1)), ("four", (2, 2))):
        data, model = parallel
        split = only(config, stage, parallel=ParallelConfig(data=data, model=model))
        train(split, str(tmp_path / name))
        found.append(metrics_of(tmp_path / name))
    for one, four in zip(*found, strict=True):
        assert one["search_tokens"] == four["search_tokens"]
        np.testing.assert_allclose(one["policy_loss"], four["policy_loss"], rtol=1e-3)


def test_a_run_goes_on_where_it_was_stopped(config, tmp_path):
    stage = dataclasses.replace(STAGES[1], num_steps=4)
    train(only(config, stage), str(tmp_path / "whole"))
    often = LogConfig(every_steps=1, checkpoint_seconds=0.0, keep_checkpoints=4)
    train(only(config, stage, log=often), str(tmp_path / "cut"))
    checkpoints = RunDirectory(tmp_path / "cut").checkpoints / "control"
    for step in ("3", "4"):
        shutil.rmtree(checkpoints / step)
    train(only(config, stage, log=often), str(tmp_path / "cut"))
    whole, cut = metrics_of(tmp_path / "whole"), metrics_of(tmp_path / "cut")
    assert [row["policy_loss"] for row in whole] == [row["policy_loss"] for row in cut]


@pytest.fixture(scope="module")
def verified(config, tmp_path_factory):
    """A run with verifiers of each kind, which have learnt a little of an open model's texts."""
    own = TransformerConfig(num_layers=1, embed_dim=16, num_heads=2, num_kv_heads=1, head_dim=8)
    few = dict(policy="pretrained", num_solutions=16, batch_size=16, updates_per_step=1)
    stages = (
        Verifier("orm", num_steps=150, replay_size=512, network="head", **few),
        Labelling("labels", policy="pretrained", num_problems=8, num_rollouts=2, generations=400),
        Verifier("prm", num_steps=2, replay_size=64, labels=LabelsFrom("labels"), model=own, **few),
        Verifier("copied", num_steps=2, replay_size=64, network="copy", **few),
    )
    folder = tmp_path_factory.mktemp("verified")
    train(dataclasses.replace(config, stages=stages), str(folder))
    return folder


def test_verifiers_learn_to_judge_an_open_model(verified):
    rows = [row for row in metrics_of(verified) if row["stage"] == "orm"]
    first, last = (
        np.mean([row["verifier_loss"] for row in part]) for part in (rows[:10], rows[-10:])
    )
    assert last < 0.5 * first, (first, last)


@pytest.mark.parametrize("verifier", ["orm", "prm", "copied"])
def test_strategies_choose_by_a_verifier_of_an_open_model(verified, verifier):
    rows = read_json(
        *("evaluate", verified, "--verifier", verifier, "--problems", 4, "--budgets", 4),
        *("--strategies", "best_of_n", "beam_search", "drawing_tree"),
    )["rows"]
    assert {row["strategy"] for row in rows} == {"best_of_n", "beam_search", "drawing_tree"}
    read = {row["strategy"]: row["verifier_tokens"] for row in rows}
    assert all((tokens > 0) == (verifier != "orm") for tokens in read.values()), read


def test_verifiers_are_compared_on_the_same_texts(verified):
    found = read_json("evaluate", verified, "--suite", "verifiers", "--budgets", 2, "--problems", 4)
    assert {row["verifier"] for row in found["verifiers"]} == {"value_head", "orm", "prm", "copied"}


def test_an_experiment_with_an_open_model_is_data(config):
    data = to_data(config)
    assert data["model"]["cls"] == "rlsearch.config:Pretrained"
    assert from_data(Experiment, json.loads(json.dumps(data))) == config
    assert "cls" not in to_data(tiny_experiment())["model"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model": {"cls": "rlsearch.config:SearchConfig"}},
            "rlsearch.config:TransformerConfig or",
        ),
        ({"model": {"cls": "rlsearch.config:Pretrained", "folder": ""}}, "model.folder is ''"),
    ],
)
def test_a_model_that_is_none_is_refused(config, change, said):
    with pytest.raises(ValueError, match=said):
        from_data(Experiment, {**to_data(config), **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {
                "model": tiny_experiment().model,
                "stages": (dataclasses.replace(STAGES[1], start=""),),
            },
            "needs a model that is Pretrained",
        ),
        ({"task": tiny_experiment().task, "prompting": None}, "an open model needs one in words"),
        ({"model": Pretrained("nowhere")}, "there is no nowhere/config.json"),
        ({"stages": (Traces(num_steps=1),)}, "and the task has none"),
        (
            {"stages": (dataclasses.replace(STAGES[1], start="base"),)},
            "must be a stage before it, pretrained",
        ),
        ({"prompting": Chat(instruction="x " * 600)}, "together they must be at most 512"),
    ],
)
def test_what_does_not_fit_together_is_said_in_a_sentence(config, change, said, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        train(dataclasses.replace(config, **change), str(tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()
