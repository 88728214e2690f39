"""Checkpoints of a run: saved while training goes on, restored onto any mesh, kept when it matters.

The folder holds, beside one folder a step:

    STEP/              a checkpoint that Orbax has committed
    STEP.permanent     an empty file: the checkpoint STEP is never deleted
    STEP.damaged/      a checkpoint that could not be read and was set aside
    STEP.deleted/      a checkpoint whose deletion was cut short; removed by the next save
    STEP.orbax-...     a save that was cut short; removed by the next save
"""

import contextlib
import errno
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from rlsearch.paths import absolute, is_remote

_PERMANENT = ".permanent"
_DAMAGED = ".damaged"
_DELETED = ".deleted"
_TEMPORARY = ".orbax-checkpoint-tmp"  # what Orbax appends to the name until a save is complete
_COMMITTED = "commit_success.txt"  # the file that completes a save where folders have no rename


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message is one sentence for the user."""


class Best(NamedTuple):
    """Keeps the checkpoints that are best by a metric they were saved with."""

    count: int  # how many; of equal ones the newer
    metric: str  # a checkpoint that was saved without it is none of them
    mode: str  # "max" or "min"


class CheckpointStore:
    """The checkpoints of one run, of which the newest ones and the permanent ones are kept.

    Beside them, if asked for, those at multiples of a number of steps and the best by a metric.

    All methods are called from the main thread, and on every process of a multi-host run. Only
    `save` and `restore_latest` change the folder, so that other programs may read a run in
    training. A state is any pytree of `jax.Array` (typed keys included), `numpy.ndarray`, `int`
    and `float`; its structure is not stored, but given again as the abstract state.

    Truncated and missing files are noticed when a checkpoint is restored; a flipped bit inside an
    array's data is not.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        keep: int,
        warn: Callable[[str], None] = warnings.warn,
        every: int = 0,
        best: Best | None = None,
    ):
        """Opens a folder of checkpoints; it is made by the first save.

        Args:
          directory: the folder itself, `RUN/checkpoints`; may be `gs://`.
          keep: how many of the newest checkpoints are kept beside the permanent ones.
          warn: is given one sentence for each checkpoint set aside or not deleted.
          every: checkpoints whose step is a multiple of it are kept; 0: none.
          best: which others are kept for a metric's sake.

        Raises:
          ValueError: `keep` or the count of `best` is below 1, or its mode is unknown.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep!r}: it must be at least 1")
        if best is not None and (best.count < 1 or best.mode not in ("max", "min")):
            raise ValueError(f"best is {best}: count must be at least 1 and mode 'max' or 'min'")
        self.directory = absolute(directory)
        self._keep, self._every, self._best = keep, every, best
        self._metrics: dict[int, Mapping[str, float]] = {}  # of checkpoints, once read
        self._warn = warn
        self._pending: tuple[int, Any] | None = None  # step and response of the save in flight
        self._cleaned = False
        # Orbax logs the traceback of every thread that fails. Here they become one sentence, and
        # adding the same filter twice adds it once.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).addFilter(_not_from_orbax)

    def __enter__(self) -> "CheckpointStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are complete, ascending."""
        if not self.directory.exists():
            return []
        names = (path.name for path in self.directory.iterdir())
        steps = sorted(int(name) for name in names if name.isdecimal())
        return [step for step in steps if self._is_committed(step)]

    def permanent_steps(self) -> list[int]:
        """Steps of the checkpoints that are never deleted, ascending."""
        return [step for step in self.steps() if self._marker(step).exists()]

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint, or None."""
        return max(self.steps(), default=None)

    def save(
        self,
        step: int,
        state: Any,
        *,
        permanent: bool = False,
        wait: bool = False,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Saves a state in the background, after the save before it has ended.

        Returns when the state has been copied to the host: its arrays may then be donated. A step
        is written once: saving it again only makes it permanent, if so asked.

        Args:
          step: of the state; names the checkpoint.
          state: pytree of arrays and numbers.
          permanent: whether the checkpoint is kept forever (the last of a training stage).
          wait: whether to return only when the checkpoint is complete.
          metrics: finite numbers to keep with it, by which it may be one of the best.

        Raises:
          CheckpointError: this save or the one before failed, by a full disk for example. What was
            half-written has been removed, and earlier checkpoints are as they were.
        """
        self.wait()
        with self._failing(step):
            if jax.process_index() == 0:
                if not self._cleaned:
                    self._clean()
                if permanent:
                    # Written first: a checkpoint must never be complete and not yet marked.
                    self.directory.mkdir(parents=True, exist_ok=True)
                    self._marker(step).touch()
            self._cleaned = True
            if step not in self.steps():
                described: Any = {"metrics": dict(metrics or {})}
                response = ocp.save_async(self._path(step), state, custom_metadata=described)
                self._pending = (step, response)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Returns when no save is in flight and old checkpoints are deleted.

        Raises:
          CheckpointError: the save in flight failed.
        """
        if self._pending is None:
            return
        step, response = self._pending
        with self._failing(step):
            response.result()
        self._pending = None
        self._delete_old()

    def close(self) -> None:
        """Waits for the save in flight; raises what `wait` raises."""
        self.wait()

    def last_good(self) -> str:
        """What is left where a checkpoint cannot be written, as a part of a sentence."""
        last = self.latest_step()
        return "there is no earlier one" if last is None else f"the last good one is {last}"

    def restore(self, step: int, abstract_state: Any) -> Any:
        """Reads a whole checkpoint.

        Args:
          step: of a checkpoint.
          abstract_state: the state's pytree with a `jax.ShapeDtypeStruct` for each array, whose
            sharding is where the array goes (none: one device), whatever sharding it was saved
            from; numbers and numpy arrays stand for themselves. An array is cast to the dtype.

        Returns:
          The state, of the abstract state's structure.

        Raises:
          FileNotFoundError: there is no such checkpoint.
          ValueError: names or shapes of the checkpoint are others; it is not damaged.
          CheckpointError: the checkpoint is damaged.
        """
        return self._load(step, abstract_state, partial=False)

    def restore_part(self, step: int, abstract_part: dict[str, Any]) -> dict[str, Any]:
        """Reads only some top-level keys of a state that is a dict, such as `{"params": ...}`.

        Args and what it raises are those of `restore`.
        """
        return self._load(step, abstract_part, partial=True)

    def restore_latest(self, abstract_state: Any | Callable[[int], Any]) -> tuple[int, Any] | None:
        """Reads the newest checkpoint that can be read, and sets aside those that cannot.

        Args:
          abstract_state: see `restore`; or a function that gives it for a step, where stages of a
            run have states of different structure.

        Returns:
          Its step and state, or None if there is none.

        Raises:
          ValueError: the newest checkpoint has other names or shapes; nothing is set aside.
        """
        for step in reversed(self.steps()):
            state, damage = None, None
            abstract = abstract_state(step) if callable(abstract_state) else abstract_state
            try:
                state = self.restore(step, abstract)
            except CheckpointError as error:
                damage = error
            # All processes must restore the same step, so one bad reading counts for all.
            if not _on_any_process(damage is not None):
                return step, state
            self._set_aside(step, damage)
        return None

    def _path(self, step: int) -> epath.Path:
        return self.directory / str(step)

    def _marker(self, step: int) -> epath.Path:
        return self.directory / f"{step}{_PERMANENT}"

    def _is_committed(self, step: int) -> bool:
        return not is_remote(self.directory) or (self._path(step) / _COMMITTED).exists()

    def _load(self, step: int, abstract: Any, partial: bool) -> Any:
        path = self._path(step)
        if step not in self.steps():
            available = ", ".join(map(str, self.steps())) or "none"
            raise FileNotFoundError(
                f"{self.directory} has no checkpoint {step}; it has {available}"
            )
        abstract = jax.tree.map(_with_sharding, abstract)
        context = ocp.Context()
        context.pytree.loading.partial_load = partial
        try:
            with context:
                restored = ocp.load(path, abstract)
        except Exception as error:
            if any(isinstance(cause, _NOT_DAMAGE) for cause in _causes(error)):
                raise
            self._check_same(step, abstract, partial)
            message = f"checkpoint {step} in {self.directory} is damaged: {_first_line(error)}"
            raise CheckpointError(message) from error
        if partial:
            self._check_same(step, abstract, partial)  # what is not there, Orbax leaves abstract
        if not _is_instance(restored, abstract):
            # A lost file of types would make plain integers of typed keys.
            message = f"checkpoint {step} in {self.directory} is damaged: types of arrays are lost"
            raise CheckpointError(message)
        return restored

    def _check_same(self, step: int, abstract: Any, partial: bool) -> None:
        difference = _difference(self._path(step), abstract, partial)
        if difference is not None:
            where = f"checkpoint {step} in {self.directory}"
            raise ValueError(f"{where} is of another state: {difference}")

    def _set_aside(self, step: int, damage: CheckpointError | None) -> None:
        path = self.directory / f"{step}{_DAMAGED}"
        if jax.process_index() == 0:
            number = 1
            while path.exists():
                number += 1
                path = self.directory / f"{step}{_DAMAGED}.{number}"
            self._path(step).rename(path)
            self._marker(step).unlink(missing_ok=True)
            reason = damage or f"checkpoint {step} in {self.directory} is damaged"
            before = self.latest_step()
            then = "there is none before it" if before is None else f"checkpoint {before} is next"
            self._warn(f"{reason}; it is set aside as {path.name}, and {then}")
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"rlsearch set aside checkpoint {step}")

    def _delete_old(self) -> None:
        if jax.process_index() != 0:
            return
        for step in set(self.steps()) - self._kept():
            path = self._path(step)
            try:
                # Made invisible in one go first: a deletion cut short leaves no half checkpoint.
                if not is_remote(self.directory):
                    path = path.rename(self.directory / f"{step}{_DELETED}")
                else:
                    (path / _COMMITTED).unlink()
                path.rmtree()
            except OSError as error:
                self._warn(f"checkpoint {step} in {self.directory} was not deleted: {error}")

    def _kept(self) -> set[int]:
        """Steps of the checkpoints that at least one rule keeps."""
        steps = self.steps()
        kept = {*steps[-self._keep :], *self.permanent_steps()}
        if self._every:
            kept |= {step for step in steps if step % self._every == 0}
        if self._best is not None:
            count, metric, mode = self._best
            found = [(self._metrics_of(step).get(metric), step) for step in steps]
            sign = {"max": 1.0, "min": -1.0}[mode]
            ranked = sorted((sign * value, step) for value, step in found if value is not None)
            kept |= {step for _, step in ranked[-count:]}
        return kept

    def _metrics_of(self, step: int) -> Mapping[str, float]:
        """The metrics that a checkpoint was saved with; none where they cannot be read."""
        if step not in self._metrics:
            try:
                saved: Any = ocp.metadata(self._path(step)).custom_metadata
                self._metrics[step] = {k: float(v) for k, v in saved["metrics"].items()}
            except Exception:  # damaged, or saved before metrics were
                self._metrics[step] = {}
        return self._metrics[step]

    def _clean(self) -> None:
        """Removes what a killed run left half done; no other run writes in this folder."""
        if not self.directory.exists():
            return
        steps = set(self.steps())
        for path in list(self.directory.iterdir()):
            name, _, _ = path.name.partition(".")
            stray = name.isdecimal() and int(name) not in steps
            if _TEMPORARY in path.name or path.name.endswith(_DELETED):
                path.rmtree(missing_ok=True)
            elif stray and path.name.endswith(_PERMANENT):
                path.unlink(missing_ok=True)
            elif stray and path.name == name:
                path.rmtree(missing_ok=True)

    @contextlib.contextmanager
    def _failing(self, step: int) -> Iterator[None]:
        """Turns any error of saving `step` into a CheckpointError, and removes the remains."""
        try:
            yield
        except Exception as error:
            self._pending = None
            with contextlib.suppress(OSError):  # the save's own error is the one to tell
                if jax.process_index() == 0:
                    self._clean()
            reason = "the disk is full" if is_full_disk(error) else _first_line(error)
            message = (
                f"checkpoint {step} could not be written to {self.directory}: {reason}; "
                f"{self.last_good()}"
            )
            raise CheckpointError(message) from error


# These say that this process cannot read the checkpoint now, not that it is bad.
_NOT_DAMAGE = (MemoryError, PermissionError, jax.errors.JaxRuntimeError)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname and "orbax" not in record.getMessage()


def _with_sharding(leaf: Any) -> Any:
    """An abstract leaf as Orbax wants it: arrays never without a sharding."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _is_instance(tree: Any, abstract: Any) -> bool:
    def same(leaf: Any, expected: Any) -> bool:
        if not hasattr(expected, "dtype"):
            return not hasattr(leaf, "dtype")
        return getattr(leaf, "dtype", None) == expected.dtype and leaf.shape == expected.shape

    if jax.tree.structure(tree) != jax.tree.structure(abstract):
        return False
    return all(jax.tree.leaves(jax.tree.map(same, tree, abstract)))


def _on_any_process(flag: bool) -> bool:
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(flag).any())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_full_disk(error: Exception) -> bool:
    """Whether an error says, or was brought about by one that says, that there is no room left."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # TensorStore gives the operating system's words and not its error class.
        if "No space left on device" in str(cause) or "Disk quota exceeded" in str(cause):
            return True
    return False


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(" [tensorstore_spec")[0][:200]


def _leaves(tree: Any) -> dict[str, Any]:
    """Leaves by their path, the same for an abstract state and for Orbax's metadata of it."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def _difference(path: epath.Path, abstract: Any, partial: bool) -> str | None:
    """Says how a checkpoint differs from an abstract state; None if not, or if unreadable."""
    try:
        metadata = ocp.metadata(path).metadata
    except Exception:
        return None
    if metadata is None:
        return None
    stored, expected = _leaves(metadata), _leaves(abstract)
    missing = [name for name in expected if name not in stored]
    if missing:
        return f"it has no {missing[0]!r}"
    extra = [name for name in stored if name not in expected]
    if extra and not partial:
        return f"it has {extra[0]!r}, which is not expected"
    for name, leaf in expected.items():
        shape = getattr(stored[name], "shape", None)
        if shape is None or not hasattr(leaf, "shape"):
            continue
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            shape = shape[:-1]  # a typed key is stored as its words
        if tuple(shape) != tuple(leaf.shape):
            return f"{name!r} has shape {tuple(shape)}, and {tuple(leaf.shape)} is expected"
    return None
