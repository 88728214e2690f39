"""The configs of open models run end to end, on small random models of their families."""

import dataclasses
import json
from pathlib import Path

import pytest

from rlsearch import config_file
from rlsearch.config import Lines, SearchConfig
from rlsearch.planning import plan as plan_module
from rlsearch.planning.plan import plan
from rlsearch.tasks.questions import Questions
from rlsearch.training.loop import train
from tests.commands import read_json, succeed
from tests.pretrained.folders import library, open_folder

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
POD = "v5e-16"
# The shapes that the folders of these models describe, in whose vocabulary some places are spare.
QWEN = {
    "model_type": "qwen2",
    "vocab_size": 151936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rope_theta": 1e6,
}
LARGE = {
    "gsm8k_qwen2_5_1_5b": {**QWEN, "tie_word_embeddings": True},
    "r1_distill_qwen_1_5b": {**QWEN, "rope_theta": 1e4, "tie_word_embeddings": False},
}
FAMILIES = {"gsm8k_qwen2_5_1_5b": "qwen2", "r1_distill_qwen_1_5b": "qwen2"}
SEARCH = SearchConfig(
    policy="draw", trust=0.0, num_simulations=8, num_candidates=4, max_tokens=32, min_p=0.05
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files of grade school mathematics, of few problems."""
    folder = tmp_path_factory.mktemp("data")
    for number, split in enumerate(("test", "train")):
        lines = [{"question": f"{i}?", "answer": "so #### 7"} for i in range(number, 16, 2)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


def shrunk(name, folder, data):
    """A config with a step a stage, few problems, and short texts."""
    config = config_file.load(str(CONFIGS / f"{name}.py"))
    small = {"num_problems": 8, "replay_size": 16, "batch_size": 8}
    stages = []
    for stage in config.stages:
        changes = {"teaching": dataclasses.replace(stage.teaching, **small)}
        if hasattr(stage, "search"):
            changes["search"] = SEARCH
        if not getattr(stage, "flops_of", ""):
            changes["num_steps"] = 1
        stages.append(dataclasses.replace(stage, **changes))
    model = dataclasses.replace(
        config.model, folder=str(folder), max_tokens=8, lines=Lines(2, 4), dtype="float32"
    )
    task = config.task if isinstance(config.task, Questions) else Questions()
    task = dataclasses.replace(task, data_dir=str(data))
    return dataclasses.replace(config, model=model, task=task, stages=tuple(stages))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_config_trains_is_measured_and_leaves(name, data, tmp_path):
    (tmp_path / "model").mkdir()
    folder = open_folder(tmp_path / "model", scale=0.1, model_type=FAMILIES[name])
    config = shrunk(name, folder, data)
    train(config, str(tmp_path / "run"))
    rows = read_json(
        *("evaluate", tmp_path / "run", "--strategies", "greedy", "--budgets", "1"),
        *("--problems", "2"),
    )["rows"]
    assert {row["policy"] for row in rows} == {"pretrained", *(x.name for x in config.stages)}
    succeed("export", tmp_path / "run", tmp_path / "out")
    out = json.loads((tmp_path / "out" / "config.json").read_text())
    assert out["model_type"] == FAMILIES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_config_fits_its_pod(name, data, tmp_path, monkeypatch):
    """By the estimate, as a compiler takes minutes, of 4 problems a device: an estimate holds trees
    twice. A plan reads no weights, and there are none."""
    monkeypatch.setattr(plan_module, "has_compiler", lambda machine: False)
    open_folder(tmp_path, scale=0, **LARGE[name])
    made = library()
    words = [f"w{number}" for number in range(made.get_vocab_size(), 151_665)]
    made.add_tokens(words)
    made.save(str(tmp_path / "tokenizer.json"))
    config = config_file.load(str(CONFIGS / f"{name}.py"))
    first = config.stages[0]
    teaching = dataclasses.replace(first.teaching, num_problems=64)
    config = dataclasses.replace(
        config,
        stages=(dataclasses.replace(first, teaching=teaching),),
        model=dataclasses.replace(config.model, folder=str(tmp_path)),
        task=dataclasses.replace(config.task, data_dir=str(data)),
    )
    found = plan(config, POD)
    assert found["fits"] and found["separate_searches"]
    whole = found["stages"][0]["bytes_per_device"]["gathered parameters"]
    assert 2 * 1.5e9 < whole < 2 * 1.9e9  # in bfloat16
