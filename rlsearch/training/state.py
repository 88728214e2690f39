"""What training carries from step to step: all of it is in a checkpoint."""

from typing import Any, NamedTuple

import jax
import optax

from rlsearch.networks.language_model import Params
from rlsearch.training.replay import Replay, empty_replay
from rlsearch.training.stages import Stage


class TrainState(NamedTuple):
    """The state of one stage. Random keys are folded from the run's seed and the step."""

    params: Params
    optimizer: Any
    replay: Replay


def init_state(params: Params, optimizer: optax.GradientTransformation, stage: Stage) -> TrainState:
    """The state in which a stage starts from `params`."""
    keys = jax.ShapeDtypeStruct((stage.num_keys,), jax.random.key(0).dtype)
    rows = jax.eval_shape(lambda p, k: stage.produce(p, k)[0], params, keys)
    return TrainState(params, optimizer.init(params), empty_replay(rows, stage.replay_size))


def run_key(seed: int, stream: str, step: int | jax.Array) -> jax.Array:
    """The key of one step of one stream of randomness of a run."""
    streams = {"parameters": 0, "training": 1, "evaluation": 2}
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), streams[stream]), step)
