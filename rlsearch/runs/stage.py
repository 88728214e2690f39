"""What a stage of training is: where its data comes from, and what is learnt from it."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax

from rlsearch.config import OptimizerConfig

Params = Any  # a pure dict of arrays
Metrics = dict[str, jax.Array]


class Model(Protocol):
    """What training must know of a network."""

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters."""
        ...

    def num_params(self) -> int:
        """How many there are."""
        ...

    def logical_axes(self) -> Params:
        """The names of their axes, a tuple for each parameter; see `config.ShardingRules`."""
        ...


@dataclasses.dataclass(frozen=True)
class StageFlops:
    """FLOPs of one training step."""

    produce: float  # making rows: searching or sampling
    update: float  # learning from them

    @property
    def total(self) -> float:
        return self.produce + self.update


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The parameters that a stage ended with."""

    model: Any  # a `Model`: whose they are
    step: int  # of the checkpoint
    run: str = ""  # the run's directory; empty: the same run


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage. Its memory is a pytree of `[B, ...]` arrays, the data of B lanes.

    A stage may read parameters that it does not learn: where `reads` is not None, `memory`,
    `collect` and `loss` are given the pair of its own parameters and those.
    """

    name: str
    model: Model  # what it trains
    start: Checkpoint | None  # whose parameters it starts from; None: fresh ones
    num_steps: int
    num_keys: int  # K, keys a step: one a problem or game
    memory: Callable[[Params, jax.Array], Any]  # of parameters and `[K]` keys: at the beginning
    # Parameters, memory and `[K]` keys to the memory with what is new, and `[K]` metrics. It runs
    # on every device for its own share, and communicates with no other.
    collect: Callable[[Params, Any, jax.Array], tuple[Any, Metrics]]
    batch: Callable[[Any, jax.Array], Any]  # of memory and a key: a minibatch, `[R, ...]` arrays
    # Of parameters, a minibatch and `[R]` keys: the loss and its metrics. They are means over rows,
    # so that those of a whole minibatch are the means of its parts'.
    loss: Callable[[Params, Any, jax.Array], tuple[jax.Array, Metrics]]
    batch_size: int  # R, rows of a minibatch
    updates_per_step: int
    optimizer: OptimizerConfig
    flops_per_step: StageFlops
    reads: Checkpoint | None = None
    # Of the memory at the beginning, outside of `jit`: the same arrays with what is in files. Every
    # process reads the lanes that its own devices hold.
    fill: Callable[[Any], Any] | None = None
