"""Search-augmented reinforcement learning in JAX: train, search, distil, on one axis of compute.

The public names of a notebook are exported here and imported when they are first used, so that
`import rlsearch` itself costs nothing; see `docs/python_api.md`. Everything else is found in the
rooms of the package, each of which says what it is for.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "rlsearch.config": (
        *("Experiment", "LogConfig", "OptimizerConfig", "ParallelConfig", "SearchConfig"),
        *("Lines", "Pretrained", "TowerConfig", "TransformerConfig"),
    ),
    "rlsearch.config_file": ("load", "override"),
    "rlsearch.training.loop": ("train",),
    "rlsearch.measuring.opened": ("open_run",),
    "rlsearch.arena.opening": ("open_game",),
    "rlsearch.decoding.policy": ("Policy", "SolutionFormat"),
    "rlsearch.decoding.writer": ("Writer",),
    "rlsearch.decoding.draft": ("Draft",),
    "rlsearch.decoding.sampling": ("Sampling",),
    "rlsearch.decoding.conversation": ("Answering", "Conversation"),
    "rlsearch.pretrained.opened": ("open_model",),
    "rlsearch.parallel.mesh": ("make_mesh",),
    "rlsearch.search.moves": ("search_moves",),
    "rlsearch.verifiers.base": ("Memory",),
    "rlsearch.verifiers.value_head": ("ValueHead",),
    "rlsearch.verifiers.checker": ("Checker",),
    "rlsearch.tasks.game24": ("Game24",),
    "rlsearch.tasks.countdown": ("Countdown",),
    "rlsearch.tasks.arithmetic": ("Arithmetic",),
    "rlsearch.tasks.direct_arithmetic": ("DirectArithmetic",),
    "rlsearch.tasks.questions": ("GSM8K", "Generated", "Questions"),
    "rlsearch.tasks.prompting": ("FewShot",),
    "rlsearch.tasks.chat": ("Chat",),
    "rlsearch.environments.pgx_game": ("PgxGame",),
    "rlsearch.stages.traces": ("Traces",),
    "rlsearch.stages.search_distillation": ("SearchDistillation",),
    "rlsearch.stages.supervised": ("Supervised",),
    "rlsearch.stages.tree_distillation": ("TreeDistillation",),
    "rlsearch.stages.expert_iteration": ("ExpertIteration",),
    "rlsearch.stages.policy_gradient": ("PolicyGradient",),
    "rlsearch.stages.revision": ("Revision",),
    "rlsearch.stages.verifier": ("ExactSteps", "LabelsFrom", "Outcomes", "Verifier"),
    "rlsearch.stages.labelling": ("Labelling",),
    "rlsearch.stages.teaching": ("Teaching",),
    "rlsearch.stages.self_play": ("SelfPlay",),
    "rlsearch.strategies.base": ("Budget",),
    "rlsearch.strategies.greedy": ("Greedy",),
    "rlsearch.strategies.self_consistency": ("SelfConsistency",),
    "rlsearch.strategies.best_of_n": ("BestOfN",),
    "rlsearch.strategies.weighted_best_of_n": ("WeightedBestOfN",),
    "rlsearch.strategies.beam_search": ("BeamSearch",),
    "rlsearch.strategies.lookahead_search": ("LookaheadSearch",),
    "rlsearch.strategies.diverse_search": ("DiverseSearch",),
    "rlsearch.strategies.tree_search": ("TreeSearch",),
    "rlsearch.strategies.revisions": ("Revisions",),
    "rlsearch.strategies.one_tree": ("OneTree",),
    "rlsearch.strategies.drawing_tree": ("DrawingTree",),
    "rlsearch.strategies.tree_vote": ("TreeVote",),
    "rlsearch.strategies.mcts_alpha": ("MctsAlpha",),
    "rlsearch.strategies.mcts_rollout": ("MctsRollout",),
    "rlsearch.strategies.bfs_v": ("BfsV",),
    "rlsearch.strategies.dfs_v": ("DfsV",),
    "rlsearch.studies.accuracy": ("Accuracy",),
    "rlsearch.studies.test_time_compute": ("TestTimeCompute",),
    "rlsearch.studies.exchange": ("Exchange",),
    "rlsearch.studies.teachers": ("Teachers",),
    "rlsearch.studies.everything": ("Everything",),
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'rlsearch' has no name {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Lists the public names."""
    return [*globals(), *_MODULES]
