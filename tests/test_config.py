import dataclasses
import inspect
import re

import pytest

from rlsearch import config
from rlsearch.classes import classes_of
from rlsearch.config import (
    ENVIRONMENT,
    PROMPTING,
    REMAT_POLICIES,
    STAGE,
    STRATEGY,
    STUDY,
    TASK,
    Adapter,
    Experiment,
    Lines,
    LogConfig,
    OptimizerConfig,
    ParallelConfig,
    Pretrained,
    ProfileConfig,
    RopeScaling,
    SearchConfig,
    ShardingRules,
    TowerConfig,
    TransformerConfig,
)
from rlsearch.environments.pgx_game import ONE_PLAYER, TWO_PLAYERS, PgxGame
from rlsearch.stages.expert_iteration import ExpertIteration
from rlsearch.stages.labelling import Labelling
from rlsearch.stages.policy_gradient import PolicyGradient
from rlsearch.stages.revision import Revision
from rlsearch.stages.search_distillation import SearchDistillation
from rlsearch.stages.self_play import SelfPlay
from rlsearch.stages.supervised import Supervised
from rlsearch.stages.teaching import Teaching
from rlsearch.stages.traces import Traces
from rlsearch.stages.tree_distillation import TreeDistillation
from rlsearch.stages.verifier import LabelsFrom, Verifier
from rlsearch.strategies.drawing import Drawing
from rlsearch.strategies.one_tree import OneTree
from rlsearch.studies.accuracy import Accuracy
from rlsearch.studies.exchange import Exchange
from rlsearch.studies.revisions import Revisions
from rlsearch.studies.teachers import Teachers
from rlsearch.studies.verifiers import Verifiers
from rlsearch.tasks.arithmetic import Arithmetic
from rlsearch.tasks.countdown import Countdown
from rlsearch.tasks.game24 import Game24
from rlsearch.tasks.prompting import FewShot
from rlsearch.tasks.questions import Generated

STUDIES = tuple(classes_of(STUDY).values())
FIELD, IN_A_ROW = re.compile(r'self, "(\w+)"'), re.compile(r"for field in \(([^)]*)\):")
GAMES = f"one of {', '.join(sorted((*TWO_PLAYERS, *ONE_PLAYER)))}"
LOCAL = "positive, as other fields are about local layers"
SLOWED = "0, or above low_frequency, which is then positive, as original_length is"
BAD = [
    (Game24, {"split": "test"}, "'random' or 'tot'"),
    (Game24, {"num_held_out": 0}, "from 1 to 1000"),
    (Countdown, {"num_held_out": 1001}, "from 1 to 1000"),
    (Arithmetic, {"num_held_out": 0}, "from 1 to 1000"),
    (Game24, {"split_seed": -1}, "from 0 to 2**63 - 1"),
    (Countdown, {"split_seed": 2**31}, "from 0 to 2**31 - 1"),
    (Arithmetic, {"split_seed": -1}, "from 0 to 2**31 - 1"),
    (FewShot, {"num_examples": 17}, "from 1 to 16"),
    (Countdown, {"num_numbers": 7}, "from 3 to 6"),
    (Arithmetic, {"num_operations": 1}, "from 2 to 20"),
    (Arithmetic, {"mistake_share": 1.5}, "in [0, 1]"),
    (Countdown, {"largest": 8}, "from 9 to 99"),
    (Arithmetic, {"largest": 100}, "from 9 to 99"),
    (Game24, {"max_goal": 200}, "from 24 to 199"),
    (Countdown, {"max_goal": 23}, "from 24 to 199"),
    (Game24, {"fraction_weight": 0.0}, "in (0, 1]"),
    (Countdown, {"fraction_weight": 0.0}, "in (0, 1]"),
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
    (TransformerConfig, {"window": -1}, "at least 0"),
    (TransformerConfig, {"query_scale": -0.1}, "at least 0"),
    (TransformerConfig, {"attention_cap": -1.0}, "at least 0"),
    (TransformerConfig, {"logit_cap": -1.0}, "at least 0"),
    (TransformerConfig, {"local_rope_theta": -1.0}, "at least 0"),
    (TransformerConfig, {"global_every": -1}, "at least 0"),
    (TransformerConfig, {"global_every": 2, "window": 0}, LOCAL),
    (TransformerConfig, {"activation": "relu"}, "'silu' or 'gelu'"),
    (RopeScaling, {"factor": 0.5}, "at least 1"),
    (RopeScaling, {"high_frequency": 4.0}, SLOWED),
    (TransformerConfig, {"remat": "some"}, f"one of {', '.join(config.REMAT_POLICIES)}"),
    (TowerConfig, {"remat": ""}, f"one of {', '.join(config.REMAT_POLICIES)}"),
    (Adapter, {"rank": -1}, "at least 0"),
    (Adapter, {"alpha": 0.0}, "positive"),
    (Adapter, {"targets": ()}, f"some of {', '.join(config.ADAPTABLE)}"),
    (Adapter, {"targets": ("query", "embedding")}, f"some of {', '.join(config.ADAPTABLE)}"),
    (Lines, {"max_steps": 0}, "at least 1"),
    (Lines, {"max_step_tokens": 0}, "at least 1"),
    (Lines, {"delimiter": ""}, "a text"),
    (Pretrained, {"folder": ""}, "the folder of an open model"),
    (Pretrained, {"folder": "x", "max_tokens": 0}, "at least 1"),
    (Pretrained, {"folder": "x", "dtype": "int8"}, "'float32' or 'bfloat16'"),
    (Pretrained, {"folder": "x", "remat": "some"}, f"one of {', '.join(REMAT_POLICIES)}"),
    (Generated, {"size": 0}, "from 1 to 1000000"),
    (Generated, {"num_held_out": 0}, "from 1 to 1000000"),
    (Generated, {"seed": -1}, "from 0 to 1000002"),
    (Generated, {"options": ("max_terms",)}, "a list such as max_terms=3 max_digits=2"),
    (SearchConfig, {"policy": "best"}, "'gumbel', 'puct' or 'draw'"),
    (SearchConfig, {"policy": "draw", "actions": "tokens"}, "'steps' where policy is 'draw'"),
    (SearchConfig, {"tilt": -1.0}, "from 0 to 1000"),
    (OneTree, {"search": SearchConfig(actions="tokens")}, "one whose actions are 'steps'"),
    (OneTree, {"widest": 1}, "at least 2"),
    (TreeDistillation, {"search": SearchConfig(actions="moves")}, "one whose actions are 'steps'"),
    (SearchConfig, {"max_tokens": -1}, "at least 0"),
    (SearchConfig, {"trust": 1.1}, "in [0, 1]"),
    (Teaching, {"trace_choices": -0.1}, "in [0, 1]"),
    (Teaching, {"likelihood": 2.0}, "in [0, 1]"),
    (TreeDistillation, {"num_steps": 0}, "at least 1"),
    (Supervised, {"num_steps": -1}, "at least 0"),
    (Supervised, {"num_epochs": 0}, "at least 1"),
    (Supervised, {"batch_size": 0}, "at least 1"),
    (TreeDistillation, {"num_targets": 25}, "from 1 to search.num_candidates, 24"),
    (Teachers, {"problems": 0}, "at least 1"),
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
    (Traces, {"num_steps": 0}, "at least 1"),
    (Traces, {"batch_size": 3}, "at least 4"),
    (Traces, {"contrast": 1.0}, "in (0, 1)"),
    (SearchDistillation, {"num_steps": 0}, "at least 1"),
    (Teaching, {"num_problems": 0}, "at least 1"),
    (Teaching, {"task_fraction": 1.5}, "in [0, 1]"),
    (Teaching, {"other_goal_fraction": 0.75}, "in [0, 0.5], what task_fraction leaves"),
    (ExpertIteration, {"num_steps": 1, "min_p": 1.0}, "in [0, 1)"),
    (Drawing, {"min_p": -0.1}, "in [0, 1)"),
    (Drawing, {"policy_weight": -1.0}, "at least 0"),
    (SearchDistillation, {"num_targets": 0}, "at least 1"),
    (SearchDistillation, {"num_targets": 13}, "at most search.num_candidates, 12"),
    (Teaching, {"critic_samples": -1}, "at least 0"),
    (Teaching, {"traces": -1}, "at least 0"),
    (SearchDistillation, {"unsolved_weight": -0.5}, "in [0, 1]"),
    (Teaching, {"replay_size": 100}, "a multiple of the rows of a step, 384"),
    (Teaching, {"updates_per_step": 0}, "at least 1"),
    (Teaching, {"batch_size": 0}, "at least 1"),
    (Teaching, {"contrast": 0.0}, "in (0, 1)"),
    (SearchDistillation, {"decisions_per_search": 0}, "at least 1"),
    (ExpertIteration, {"num_steps": 1, "num_samples": 0}, "at least 1"),
    (ExpertIteration, {"num_steps": 0}, "at least 1, or 0 with flops_of"),
    (PolicyGradient, {"num_steps": 0}, "at least 1, or 0 with flops_of"),
    (PolicyGradient, {"num_samples": 1}, "at least 2"),
    (PolicyGradient, {"min_p": 1.0}, "in [0, 1)"),
    (PolicyGradient, {"clip": 0.0}, "in (0, 1)"),
    (ExpertIteration, {"flops_of": "distilled", "num_steps": 1}, "0 beside flops_of"),
    (Revision, {"start": ""}, "the stage that ended with the policy"),
    (Revision, {"num_problems": 0}, "at least 1"),
    (Revision, {"batch_size": 0}, "at least 1"),
    (Revision, {"num_samples": 3}, "at least 4, as a context holds"),
    (Revision, {"replay_size": 1000}, "a multiple of the rows of a step, 256"),
    (Verifier, {"policy": ""}, "the stage that ended with the policy"),
    (Verifier, {"network": "trunk"}, "'own', 'copy' or 'head'"),
    (LabelsFrom, {"folder": ""}, "a stage that labels, or the folder of labels"),
    (Labelling, {"kind": "rough"}, "one of 'exact', 'hard', 'soft', 'bisection'"),
    (Labelling, {"policy": ""}, "the stage that ended with the policy"),
    (Labelling, {"generations": 0}, "at least 1 where num_steps is 0"),
    (Labelling, {"active_fraction": 1.5}, "from 0 to 1"),
    (Labelling, {"drawn": 2}, "1 where no verifier says which solutions convince"),
    (Verifier, {"aggregation": "max"}, "one of 'last', 'min', 'prod', 'mean'"),
    (Verifier, {"num_solutions": 0}, "at least 1"),
    (Verifier, {"replay_size": 300}, "a multiple of num_solutions, 128"),
    (PgxGame, {"reward_scale": 0.0}, "positive, and at most 1e6"),
    (PgxGame, {"discount": 1.5}, "in (0, 1]"),
    (PgxGame, {"max_moves": -1}, "from 0 to 2**31 - 1"),
    (TowerConfig, {"dtype": "float64"}, "'float32' or 'bfloat16'"),
    (TowerConfig, {"num_blocks": 0}, "positive"),
    (TowerConfig, {"channels": 0}, "positive"),
    (TowerConfig, {"squeeze_excite": -1}, "at least 0"),
    (TowerConfig, {"value": "win"}, "'outcomes', 'bounded' or 'unbounded'"),
    (SelfPlay, {"num_games": 0}, "at least 1"),
    (SelfPlay, {"moves_per_step": 0}, "at least 1"),
    (SelfPlay, {"replay_moves": 9}, "a multiple of moves_per_step, 8"),
    (SelfPlay, {"td_lambda": 1.5}, "in [0, 1]"),
    (SelfPlay, {"random_opening": -1}, "at least 0"),
    (SelfPlay, {"temperature": 0.0}, "positive"),
    (SelfPlay, {"temperature_moves": -1}, "at least 0"),
    (SelfPlay, {"resign_below": 1.0}, "in [-1, 1)"),
    (SelfPlay, {"reanalysed": -1}, "at least 0"),
    (SelfPlay, {"value_weight": 0.0}, "positive"),
    (Accuracy, {"budgets": (0, 1)}, "whole numbers of at least 1"),
    (Accuracy, {"sequential": -1}, "at least 0"),
    (Revisions, {"sequential": (0,)}, "whole numbers of at least 1"),
    (Verifiers, {"problems": 0}, "at least 1"),
    (Accuracy, {"split": "test"}, "'held_out' or 'training'"),
    (PgxGame, {"game": "tic"}, GAMES),
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
    field, value = list(values.items())[-1]
    sentence = f"{cls.__name__}.{field} is {value!r}: it must be {valid}"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        cls(**values)


def every_class() -> list[type]:
    """All that check their own fields: those that a config may name, and those that they hold."""
    kinds = TASK, PROMPTING, STAGE, STUDY, STRATEGY, ENVIRONMENT
    found = [cls for kind in kinds for cls in classes_of(kind).values()]
    found += [cls for cls in vars(config).values() if inspect.isclass(cls)]
    found += [Teaching, LabelsFrom]
    return [cls for cls in found if "__post_init__" in vars(cls)]


def checks(cls) -> str:
    return inspect.getsource(vars(cls)["__post_init__"])


def test_every_check_has_a_case_above():
    checked = {(cls, field) for cls in every_class() for field in FIELD.findall(checks(cls))}
    apart = {(Experiment, "stages")}  # below
    assert len(checked) > 70
    assert checked - apart <= {(cls, field) for cls, values, _ in BAD for field in values}


def test_every_field_that_is_checked_in_a_row_refuses_what_is_negative():
    rows = [(cls, row) for cls in every_class() for row in IN_A_ROW.findall(checks(cls))]
    assert len(rows) >= 5
    for cls, row in rows:
        for field in re.findall(r"\w+", row):
            with pytest.raises(ValueError, match=f"^{cls.__name__}.{field} is -1: it must be"):
                cls(**{field: -1})


@pytest.mark.parametrize("cls", STUDIES)
def test_every_study_checks_what_it_measures(cls):
    given = {"against": "runs/other"} if cls is Exchange else {}
    values = {"budgets": (0,), "problems": 0, "split": "test"}
    fields = {field.name for field in dataclasses.fields(cls)}
    assert {"problems", "split"} <= fields
    for field, value in ((name, value) for name, value in values.items() if name in fields):
        with pytest.raises(ValueError, match=f"^{cls.__name__}.{field} is "):
            cls(**given, **{field: value})


def test_an_experiment_has_stages_with_names_of_their_own():
    for stages, said in (
        ((), "Experiment.stages is (): it must be at least one stage"),
        ((Traces(), Traces()), "Experiment.stages has two named 'base': each needs its own"),
        ((Traces("model"),), "has one named 'model', which is a field of experiments"),
        ((Traces("a.b"),), "has one named 'a.b': a name must be a word of letters, digits"),
        ((Traces("a" * 61),), "a name must be a word"),
        ((Traces(""),), "has one named ''"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            Experiment(stages=stages)


def test_a_search_of_another_language_is_refused():
    with pytest.raises(ValueError, match="SearchDistillation.search.actions is 'moves': in lang"):
        SearchDistillation(search=SearchConfig(actions="moves"))
    for group in ("search", "play"):
        with pytest.raises(ValueError, match=f"SelfPlay.{group}.actions is 'steps': in a game it"):
            SelfPlay(**{group: SearchConfig()})  # pyright: ignore


def test_the_defaults_are_valid():
    for kind in (TASK, PROMPTING, STAGE, STUDY, STRATEGY, ENVIRONMENT):
        for cls in classes_of(kind).values():
            if cls is Exchange:
                assert cls("runs/other") == cls("runs/other")
            elif cls is not ExpertIteration:  # whose length is asked for
                assert dataclasses.replace(cls()) == cls()
