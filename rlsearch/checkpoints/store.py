"""Checkpoints of a run: saved while training goes on, restored onto any mesh, kept when it matters.

The folder holds, beside one folder a step:

    STEP/              a checkpoint that Orbax has committed
    STEP.permanent     an empty file: the checkpoint STEP is never deleted
    STEP.damaged/      a checkpoint that was read, found wrong and set aside
    STEP.deleted/      a checkpoint whose deletion was cut short; removed by the next save
    STEP.orbax-...     a save that was cut short; removed by the next save

Other names are nobody's: they are neither read nor removed.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from rlsearch.checkpoints.reading import (
    CheckpointError,
    DamagedError,
    first_line,
    is_full_disk,
    is_passing,
    read_checkpoint,
)
from rlsearch.paths import absolute, is_remote

_PERMANENT = ".permanent"
_DAMAGED = ".damaged"
_DELETED = ".deleted"
_TEMPORARY = ".orbax-checkpoint-tmp"  # what Orbax appends to the name until a save is complete
_COMMITTED = "commit_success.txt"  # the file that completes a save where folders have no rename


_READ, _DAMAGED_SOMEWHERE, _UNREADABLE_SOMEWHERE = range(3)  # outcomes of reading, the worst last


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
    array's data is not. What cannot be read at the moment is never taken for damage.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        keep: int,
        warn: Callable[[str], None] = warnings.warn,
        every: int = 0,
        best: Best | None = None,
        among: range | None = None,
    ):
        """Opens a folder of checkpoints; it is made by the first save.

        Args:
          directory: the folder itself, `RUN/checkpoints`; may be `gs://`.
          keep: how many of the newest checkpoints are kept beside the permanent ones.
          warn: is given one sentence for each checkpoint set aside or not deleted.
          every: checkpoints whose step is a multiple of it are kept; 0: none.
          best: which others are kept for a metric's sake.
          among: the only steps that are looked at; None for all.

        Raises:
          ValueError: `keep` or the count of `best` is below 1, its mode is unknown, or the folder's
            name has a character that Orbax cannot have in it.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep!r}: it must be at least 1")
        if best is not None and (best.count < 1 or best.mode not in ("max", "min")):
            raise ValueError(f"best is {best}: count must be at least 1 and mode 'max' or 'min'")
        self.directory = absolute(directory)
        _check_usable(self.directory)
        self._keep, self._every, self._best, self._among = keep, every, best, among
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
        """Steps of the checkpoints that are complete, ascending.

        Raises:
          CheckpointError: the folder cannot be read.
        """
        return self._complete(self._folders())

    def permanent_steps(self) -> list[int]:
        """Steps of the checkpoints that are never deleted, ascending; raises what `steps` does."""
        folders = self._folders()
        return [step for step in self._complete(folders) if self._marker(step).name in folders]

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
        """Names the checkpoint that is left where one cannot be written: part of a sentence."""
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
          CheckpointError: the checkpoint is damaged, or cannot be read now.
        """
        return self._load(step, abstract_state, partial=False)

    def restore_part(self, step: int, abstract_part: dict[str, Any]) -> dict[str, Any]:
        """Reads only some top-level keys of a state that is a dict, such as `{"params": ...}`.

        Args and what it raises are those of `restore`.
        """
        return self._load(step, abstract_part, partial=True)

    def restore_latest(self, abstract_state: Any | Callable[[int], Any]) -> tuple[int, Any] | None:
        """Reads the newest checkpoint that is not damaged, and sets aside those that are.

        Args:
          abstract_state: see `restore`; or a function that gives it for a step, where stages of a
            run have states of different structure.

        Returns:
          Its step and state, or None if there is none.

        Raises:
          ValueError: the newest checkpoint has other names or shapes; nothing is set aside.
          CheckpointError: it cannot be read now, or is a link or a file; nothing is set aside.
        """
        for step in reversed(self.steps()):
            state, failed, outcome = None, None, _READ
            abstract = abstract_state(step) if callable(abstract_state) else abstract_state
            try:
                self._check_all_folders()
                state = self.restore(step, abstract)
            except DamagedError as error:
                failed, outcome = error, _DAMAGED_SOMEWHERE
            except CheckpointError as error:
                failed, outcome = error, _UNREADABLE_SOMEWHERE
            # All processes must restore the same step, so one bad reading counts for all.
            worst = _worst_of_all(outcome)
            if worst == _READ:
                return step, state
            if worst == _UNREADABLE_SOMEWHERE:
                raise failed or CheckpointError(
                    f"checkpoint {step} in {self.directory} cannot be read now by another process"
                )
            self._set_aside(step, failed)
        self._check_all_folders()
        return None

    def _folders(self) -> dict[str, bool]:
        """Names in the folder, and whether each is a folder itself, to which no link leads.

        Raises:
          CheckpointError: that cannot be told now.
        """
        try:
            if is_remote(self.directory):  # has no links, and no files of such names
                return {path.name: True for path in self.directory.iterdir()}
            with os.scandir(self.directory) as entries:
                return {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except FileNotFoundError:
            return {}
        except Exception as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise CheckpointError(
                f"{self.directory} cannot be read now, and is left as it is: "
                f"{reason or first_line(error)}"
            ) from error

    def _complete(self, folders: dict[str, bool]) -> list[int]:
        steps = sorted(int(name) for name, real in folders.items() if real and _is_step(name))
        if self._among is not None:
            steps = [step for step in steps if step in self._among]
        return [step for step in steps if self._is_committed(step)]

    def _check_all_folders(self) -> None:
        """Raises CheckpointError where a checkpoint's name is that of a link or a file.

        Training from an older one, which this one's steps would come to again, could not save them.
        """
        for name, real in self._folders().items():
            if not real and _is_step(name):
                raise CheckpointError(
                    f"{self.directory / name} is a link or a file, and a checkpoint is a folder: "
                    "move it away, or put there what it leads to"
                )

    def _path(self, step: int) -> epath.Path:
        return self.directory / str(step)

    def _marker(self, step: int) -> epath.Path:
        return self.directory / f"{step}{_PERMANENT}"

    def _is_committed(self, step: int) -> bool:
        if not is_remote(self.directory):
            return True
        try:  # not asked by `exists`, for which what cannot be read does not exist
            return any(path.name == _COMMITTED for path in self._path(step).iterdir())
        except FileNotFoundError:  # deleted meanwhile
            return False
        except Exception as error:
            raise CheckpointError(
                f"{self._path(step)} cannot be read now, and is left as it is: {first_line(error)}"
            ) from error

    def _load(self, step: int, abstract: Any, partial: bool) -> Any:
        path, steps = self._path(step), self.steps()
        if step not in steps:
            available = ", ".join(map(str, steps)) or "none"
            raise FileNotFoundError(
                f"{self.directory} has no checkpoint {step}; it has {available}"
            )
        return read_checkpoint(path, abstract, partial)

    def _set_aside(self, step: int, damage: CheckpointError | None) -> None:
        path = self.directory / f"{step}{_DAMAGED}"
        if jax.process_index() == 0:
            number, taken = 1, self._folders()
            while path.name in taken:
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
        try:
            deleted = set(self.steps()) - self._kept()
        except CheckpointError as error:
            self._warn(f"no old checkpoint is deleted: {error}")
            return
        for step in deleted:
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
            known = {step: self._metrics_of(step) for step in steps}
            kept |= {step for step, metrics in known.items() if metrics is None}
            found = [(metrics.get(metric), step) for step, metrics in known.items() if metrics]
            sign = {"max": 1.0, "min": -1.0}[mode]
            ranked = sorted((sign * value, step) for value, step in found if value is not None)
            kept |= {step for _, step in ranked[-count:]}
        return kept

    def _metrics_of(self, step: int) -> Mapping[str, float] | None:
        """The metrics that a checkpoint was saved with; None where they cannot be read now."""
        if step not in self._metrics:
            try:
                saved: Any = ocp.metadata(self._path(step)).custom_metadata
                self._metrics[step] = {k: float(v) for k, v in saved["metrics"].items()}
            except Exception as error:
                if is_passing(error):
                    return None
                self._metrics[step] = {}  # damaged, or saved before metrics were
        return self._metrics[step]

    def _clean(self) -> None:
        """Removes what a killed run left half done; no other run writes in this folder."""
        folders = self._folders()
        steps = set(self._complete(folders))
        for entry, real in folders.items():
            name, _, ending = entry.partition(".")
            if not _is_step(name):
                continue
            path, stray = self.directory / entry, int(name) not in steps
            if stray and f".{ending}" == _PERMANENT:
                path.unlink(missing_ok=True)
            elif not real:
                continue
            elif _TEMPORARY in entry or f".{ending}" == _DELETED or (stray and not ending):
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
            reason = "the disk is full" if is_full_disk(error) else first_line(error)
            message = (
                f"checkpoint {step} could not be written to {self.directory}: {reason}; "
                f"{self.last_good()}"
            )
            raise CheckpointError(message) from error


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname and "orbax" not in record.getMessage()


def _is_step(name: str) -> bool:
    """Tells whether a name is that of a checkpoint: a number below 10^18, in the one form of it."""
    return name.isascii() and name.isdecimal() and len(name) <= 18 and str(int(name)) == name


def _check_usable(directory: epath.Path) -> None:
    """Raises ValueError where Orbax and TensorStore would look elsewhere than in the folder."""
    name = str(directory)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{ascii(name)} has a name that is not UTF-8: checkpoints cannot be kept there"
        ) from None
    for character in "*?[\\\0":  # the first ones are of patterns, and are taken for such
        if character in name:
            raise ValueError(
                f"{name!r} has {character!r} in its name: checkpoints cannot be kept there"
            )


def _worst_of_all(outcome: int) -> int:
    """The largest outcome of any process."""
    if jax.process_count() == 1:
        return outcome
    return int(multihost_utils.process_allgather(outcome).max())
