"""A stage of training: where its rows come from, and what is learnt from them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
from etils import epath

from rlsearch.config import OptimizerConfig

Params = Any  # a pure dict of arrays
Metrics = dict[str, jax.Array]


class Model(Protocol):
    """A network, as training sees it."""

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters."""
        ...

    def computed(self, params: Params) -> Params:
        """The parameters in the dtype that the network computes with."""
        ...

    def num_params(self) -> int:
        """The number of parameters."""
        ...

    def logical_axes(self) -> Params:
        """The names of their axes, a tuple for each parameter; see `config.ShardingRules`."""
        ...


class Weights(NamedTuple):
    """The parameters that a stage works with."""

    own: Params  # learnt
    read: Mapping[str, Params] = {}  # not learnt, by their role: "policy", "reference", "teacher"


@dataclasses.dataclass(frozen=True)
class StageFlops:
    """FLOPs of one training step, as they are computed."""

    produce: float  # making rows: searching or sampling
    update: float  # learning from them
    empty: float = 0.0  # of those, on places of rows that are empty by their kind

    @property
    def needed(self) -> float:
        """FLOPs of the step without what is spent on empty places: what a comparison counts."""
        return self.total - self.empty

    @property
    def total(self) -> float:
        """FLOPs of the whole step."""
        return self.produce + self.update


@dataclasses.dataclass(frozen=True)
class CheckpointRef:
    """The parameters that a stage ended with."""

    model: Any  # a `Model`: whose they are
    stage: str  # its name
    step: int  # of the stage, its last
    run: str = ""  # the run's directory; empty: the same run
    folder: str = ""  # of an open model, whose own they are; empty: a stage's


@dataclasses.dataclass(frozen=True)
class HostJudge:
    """A judgement made on the host, between the two halves of a step, a row at a time.

    `judge` may be slow, raise or hang: then its row gets `failed`, and no other is touched. Each
    process judges the rows that lie on its own devices.
    """

    # A row of what `produce` made, on the host and without the batch axis, to a pytree of arrays.
    judge: Callable[[Any], Any]
    failed: Any  # the judgement of a row whose judge raised or took too long: same shapes
    seconds: float = 10.0  # the most that one row may take
    threads: int = 8  # rows judged at once


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """One stage. Its memory is a pytree of `[B, ...]` arrays, the data of B lanes.

    A step is, in one `jit`, or in two with `judge` on the host between them:

        produced = produce(weights, memory, keys, feed(step))   on each device for its own share
        judged   = judge(row) for each row of produced          on the host, if there is a judge
        memory   = remember(memory, produced, judged)
        for each update: learn from batch(memory, key, update) by `loss`
    """

    name: str
    model: Model  # what it trains
    start: CheckpointRef | None  # whose parameters it starts from; None: fresh ones
    num_steps: int
    num_keys: int  # K, keys a step: one a problem or game
    memory: Callable[[Weights, jax.Array], Any]  # of weights and `[K]` keys: at the beginning
    # Weights, memory, `[K]` keys and the step's host rows to a pytree of `[K, ...]` arrays. It runs
    # on every device for its own share, and communicates with no other.
    produce: Callable[[Weights, Any, jax.Array, Any], Any]
    # Memory, `produced` and `judged` (None without a judge) to the memory and `[K]` metrics.
    remember: Callable[[Any, Any, Any], tuple[Any, Metrics]]
    # Of memory, a key and the number of the update: a minibatch, `[R, ...]` arrays.
    batch: Callable[[Any, jax.Array, jax.Array], Any]
    # Of weights, a minibatch and `[R]` keys: the loss and its metrics. They are means over rows,
    # so that those of a whole minibatch are the means of its parts'.
    loss: Callable[[Weights, Any, jax.Array], tuple[jax.Array, Metrics]]
    batch_size: int  # R, rows of a minibatch
    updates_per_step: int
    optimizer: OptimizerConfig
    flops_per_step: StageFlops
    reads: Mapping[str, CheckpointRef] = dataclasses.field(default_factory=dict)  # by their role
    judge: HostJudge | None = None
    # The host rows `[K, ...]` of a step, a pure function of its number: nothing of it is saved.
    feed: Callable[[int], Any] | None = None
    # Of the memory at the beginning, outside of `jit`: the same arrays with what is in files. Every
    # process reads the lanes that its own devices hold.
    fill: Callable[[Any], Any] | None = None

    def abstract_weights(self) -> Weights:
        """Shapes and dtypes of the weights."""
        key = jax.random.key(0)
        read = {role: jax.eval_shape(ref.model.init, key) for role, ref in self.reads.items()}
        return Weights(jax.eval_shape(self.model.init, key), read)


class RowsInMaking(Protocol):
    """A folder of rows that is being filled, part after part.

    With several processes each has one and all do the same with it; the main one alone writes.
    """

    num_parts: int  # parts that are there
    complete: bool  # whether no more will come
    result: dict[str, Any]  # what is known of the rows when they are complete

    @property
    def flops(self) -> float:
        """FLOPs that the parts have taken."""
        ...

    def is_there(self) -> bool:
        """Tells whether the next part is on file."""
        ...

    def take(self) -> dict[str, float]:
        """Counts the next part, which is on file, and returns what is known of all so far.

        Raises:
            ValueError: if it is damaged.
        """
        ...

    def add(self, rows: Any) -> dict[str, float]:
        """Writes `rows`, arrays on the host, as the next part, and does what `take` does."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Writing:
    """A stage that learns nothing and writes rows to a folder, from which later stages learn.

    A step makes a part of them, of weights and keys alone, so that a folder whose making was cut
    off becomes the same, bit for bit:

        rows = produce(read, keys)    in one `jit`, on each device for its own share
        folder.add(rows)              on the host
    """

    name: str
    num_steps: int  # the most parts: rows may say before that they are complete
    num_keys: int  # K, keys a step: one a problem
    reads: Mapping[str, CheckpointRef]  # by their role
    # Of the parameters that are read, by their role, and `[K]` keys: a pytree of arrays whose first
    # axis is of the same multiple of K.
    produce: Callable[[Mapping[str, Params], jax.Array], Any]
    # Of the folder: the rows as far as they are there. Raises ValueError where they are others.
    open: Callable[[epath.Path], RowsInMaking]


class StageConfig(Protocol):
    """A way of training, with its settings: a frozen dataclass."""

    name: str  # of what it ends with: parameters, a judge, or rows

    @property
    def ends_with(self) -> str:
        """The kind of its result: "policy", "judge" or "rows"."""
        ...

    def build(self, lineage: Any) -> Any:
        """Builds the stage, a `Stage` or a `Writing`, from what is there before it.

        Args:
            lineage: a `Lineage`.

        Raises:
            ValueError: if its fields do not fit together, or not what is there before.
        """
        ...
