import inspect
import re

import pytest

from rlsearch import config
from rlsearch.config import (
    ControlConfig,
    DistillConfig,
    EnvironmentConfig,
    EvaluationConfig,
    Experiment,
    LogConfig,
    OptimizerConfig,
    ParallelConfig,
    PretrainConfig,
    ProfileConfig,
    RevisionConfig,
    SearchConfig,
    SelfPlayConfig,
    SelfPlayExperiment,
    ShardingRules,
    TaskConfig,
    TowerConfig,
    TransformerConfig,
    VerifierConfig,
)

BAD = [
    (TaskConfig, {"split": "test"}, "'random' or 'tot'"),
    (TaskConfig, {"num_held_out": 0}, "from 1 to 1000"),
    (TaskConfig, {"num_examples": 17}, "from 0 to 16"),
    (TaskConfig, {"num_numbers": 7}, "from 3 to 6"),
    (TaskConfig, {"num_operations": 1}, "from 2 to 20"),
    (TaskConfig, {"mistake_share": 1.5}, "in [0, 1]"),
    (TaskConfig, {"largest": 8}, "from 9 to 99"),
    (TaskConfig, {"max_goal": 200}, "from 24 to 199"),
    (TaskConfig, {"fraction_weight": 0.0}, "in (0, 1]"),
    (TransformerConfig, {"num_layers": 0}, "positive"),
    (TransformerConfig, {"embed_dim": 0}, "positive"),
    (TransformerConfig, {"num_heads": 0}, "positive"),
    (TransformerConfig, {"head_dim": 0}, "positive"),
    (TransformerConfig, {"mlp_dim": -1}, "positive"),
    (TransformerConfig, {"value_dim": 0}, "positive"),
    (TransformerConfig, {"num_kv_heads": 3}, "a divisor of num_heads, 4"),
    (TransformerConfig, {"num_kv_heads": 0}, "a divisor of num_heads, 4"),
    (TransformerConfig, {"head_dim": 31}, "even, for rotary positions"),
    (TransformerConfig, {"dtype": "float16"}, "'float32' or 'bfloat16'"),
    (TransformerConfig, {"remat": "some"}, f"one of {', '.join(config.REMAT_POLICIES)}"),
    (TowerConfig, {"remat": ""}, f"one of {', '.join(config.REMAT_POLICIES)}"),
    (SearchConfig, {"policy": "best"}, "'gumbel' or 'puct'"),
    (SearchConfig, {"actions": "words"}, "'steps', 'top_tokens', 'tokens' or 'moves'"),
    (SearchConfig, {"num_simulations": 0}, "at least 1"),
    (SearchConfig, {"num_candidates": 1}, "at least 2"),
    (SearchConfig, {"value_scale": 0.0}, "positive"),
    (SearchConfig, {"temperature": 0.0}, "positive"),
    (SearchConfig, {"min_p": 1.0}, "in [0, 1)"),
    (SearchConfig, {"dirichlet_fraction": 1.0}, "in [0, 1)"),
    (OptimizerConfig, {"learning_rate": 0.0}, "positive"),
    (OptimizerConfig, {"warmup_steps": -1}, "at least 0"),
    (OptimizerConfig, {"max_grad_norm": 0.0}, "positive"),
    (PretrainConfig, {"num_steps": 0}, "at least 1"),
    (PretrainConfig, {"batch_size": 3}, "at least 4"),
    (PretrainConfig, {"contrast": 1.0}, "in (0, 1)"),
    (DistillConfig, {"num_steps": 0}, "at least 1"),
    (DistillConfig, {"num_problems": 0}, "at least 1"),
    (DistillConfig, {"task_fraction": 1.5}, "in [0, 1]"),
    (DistillConfig, {"other_goal_fraction": 0.75}, "in [0, 0.5], what task_fraction leaves"),
    (DistillConfig, {"num_targets": 0}, "at least 1"),
    (DistillConfig, {"critic_samples": -1}, "at least 0"),
    (DistillConfig, {"traces": -1}, "at least 0"),
    (DistillConfig, {"unsolved_weight": -0.5}, "in [0, 1]"),
    (DistillConfig, {"replay_size": 100}, "a multiple of the rows of a step, 384"),
    (DistillConfig, {"updates_per_step": 0}, "at least 1"),
    (DistillConfig, {"decisions_per_search": 0}, "at least 1"),
    (ControlConfig, {"num_samples": 0}, "at least 1"),
    (VerifierConfig, {"train": ("orm", "prn")}, "'orm', 'prm', both or none"),
    (VerifierConfig, {"train": ("orm", "orm")}, "'orm', 'prm', both or none"),
    (RevisionConfig, {"policy": "revision"}, "'base', 'distilled' or 'control'"),
    (RevisionConfig, {"batch_size": 0}, "at least 1"),
    (RevisionConfig, {"num_samples": 3}, "at least 4, as a context holds"),
    (RevisionConfig, {"replay_size": 1000}, "a multiple of the rows of a step, 256"),
    (VerifierConfig, {"policy": "best"}, "'base', 'distilled', 'control' or 'revision'"),
    (VerifierConfig, {"network": "trunk"}, "'own', 'copy' or 'head'"),
    (VerifierConfig, {"labels": ""}, "'exact' or the folder of labels"),
    (VerifierConfig, {"aggregation": "max"}, "'last', 'min', 'prod' or 'mean'"),
    (VerifierConfig, {"num_solutions": 0}, "at least 1"),
    (VerifierConfig, {"replay_size": 300}, "a multiple of num_solutions, 128"),
    (EnvironmentConfig, {"reward_scale": 0.0}, "positive"),
    (EnvironmentConfig, {"discount": 1.5}, "in (0, 1]"),
    (EnvironmentConfig, {"max_moves": -1}, "at least 0"),
    (TowerConfig, {"num_blocks": 0}, "positive"),
    (TowerConfig, {"channels": 0}, "positive"),
    (TowerConfig, {"squeeze_excite": -1}, "at least 0"),
    (TowerConfig, {"value": "win"}, "'outcomes', 'bounded' or 'unbounded'"),
    (SelfPlayConfig, {"num_games": 0}, "at least 1"),
    (SelfPlayConfig, {"moves_per_step": 0}, "at least 1"),
    (SelfPlayConfig, {"replay_moves": 9}, "a multiple of moves_per_step, 8"),
    (SelfPlayConfig, {"td_lambda": 1.5}, "in [0, 1]"),
    (SelfPlayConfig, {"random_opening": -1}, "at least 0"),
    (SelfPlayConfig, {"temperature": 0.0}, "positive"),
    (SelfPlayConfig, {"temperature_moves": -1}, "at least 0"),
    (SelfPlayConfig, {"resign_below": 1.0}, "in [-1, 1)"),
    (SelfPlayConfig, {"reanalysed": -1}, "at least 0"),
    (SelfPlayConfig, {"value_weight": 0.0}, "positive"),
    (SelfPlayExperiment, {"kind": "language"}, "'self_play'"),
    (EvaluationConfig, {"strategies": ()}, "at least one strategy"),
    (EvaluationConfig, {"budgets": (0, 1)}, "whole numbers of at least 1"),
    (EvaluationConfig, {"budgets": ()}, "whole numbers of at least 1"),
    (EvaluationConfig, {"seeds": ()}, "at least one seed"),
    (EvaluationConfig, {"sequential": 0}, "at least 1"),
    (ShardingRules, {"mlp": "replica"}, "'data', 'model' or ''"),
    (ParallelConfig, {"data": 0}, "-1 (all devices) or at least 1"),
    (ParallelConfig, {"replica": 0}, "at least 1"),
    (ParallelConfig, {"model": 0}, "at least 1"),
    (ParallelConfig, {"accumulate": 0}, "at least 1"),
    (LogConfig, {"every_steps": 0}, "at least 1"),
    (LogConfig, {"checkpoint_seconds": -1.0}, "at least 0"),
    (LogConfig, {"keep_checkpoints": 0}, "at least 1"),
    *(
        (
            ProfileConfig,
            {"steps": steps},
            "empty, or a first step from 1 on and a last one not before it",
        )
        for steps in ((3,), (0, 3), (4, 3), (1, 2, 3))
    ),
    (LogConfig, {"keep_every_steps": -1}, "at least 0"),
    (LogConfig, {"keep_best": -1}, "at least 0"),
    (LogConfig, {"keep_best": 1}, "0 where best_metric is not set"),
    (LogConfig, {"best_mode": "least"}, "'max' or 'min'"),
]


@pytest.mark.parametrize(("cls", "values", "valid"), BAD)
def test_a_bad_value_is_refused_with_what_is_valid(cls, values, valid):
    ((field, value),) = values.items()
    sentence = f"{cls.__name__}.{field} is {value!r}: it must be {valid}"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        cls(**values)


def test_every_check_has_a_case_above():
    fields = set(re.findall(r'self, "(\w+)"', inspect.getsource(config)))
    assert fields <= {field for _, values, _ in BAD for field in values}


def test_a_run_of_verifiers_alone_trains_one():
    with pytest.raises(ValueError, match="train is .*: it must be 'orm', 'prm' or both, in a run"):
        VerifierConfig(policy_run="runs/other")


def test_the_defaults_are_valid():
    assert Experiment() == Experiment()
