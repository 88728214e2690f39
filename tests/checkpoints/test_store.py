import contextlib
import errno
import os
import pathlib
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rlsearch.checkpoints import store as store_module
from rlsearch.checkpoints.store import Best, CheckpointError, CheckpointStore

# Orbax never awaits its other readers when one fails on a damaged file.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def make_state(seed: int) -> dict:
    params = {
        "w": jax.random.normal(jax.random.key(seed), (64, 64)),
        "b": jnp.full(3, seed, jnp.bfloat16),
    }
    return {
        "params": params,
        "optimizer": optax.adamw(1e-3).init(params),
        "key": jax.random.key(seed),
        "keys": jax.random.split(jax.random.key(seed), 8),
        "metrics": {},
        "replay": np.arange(seed, seed + 4),
        "step": seed,
    }


def abstract(state, sharding=None):
    def leaf(value):
        if isinstance(value, jax.Array):
            return jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)
        return value

    return jax.tree.map(leaf, state)


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert type(a) is type(b)
        if isinstance(a, int):
            assert a == b
            continue
        assert a.dtype == b.dtype
        if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def restore_latest(store: CheckpointStore, state) -> tuple[int, dict]:
    found = store.restore_latest(abstract(state))
    assert found is not None
    return found


def names(directory: pathlib.Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_round_trip_is_bit_exact(tmp_path):
    with CheckpointStore(tmp_path / "checkpoints", keep=2) as store:
        assert store.latest_step() is None
        assert store.restore_latest(abstract(make_state(5))) is None
        store.save(5, make_state(5))
        store.wait()
        assert store.latest_step() == 5
        step, state = restore_latest(store, make_state(0))
    assert step == 5
    assert_same(state, make_state(5))


def test_a_relative_folder_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = CheckpointStore("run/checkpoints", keep=2)
    store.save(5, make_state(5), wait=True)
    assert_same(store.restore(5, abstract(make_state(0))), make_state(5))


def test_the_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    state = {"w": jnp.ones((1000, 1000))}
    overwrite = jax.jit(lambda state: jax.tree.map(lambda x: -x, state), donate_argnums=0)
    store.save(1, state)
    state = jax.block_until_ready(overwrite(state))
    store.wait()
    np.testing.assert_array_equal(store.restore(1, state)["w"], 1)


@pytest.mark.parametrize("saved_devices, restored_devices", [(8, 4), (1, 8), (8, 1)])
def test_restores_onto_another_sharding(tmp_path, saved_devices, restored_devices):
    def sharding(devices):
        mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
        return NamedSharding(mesh, P("data"))

    keys = jax.random.split(jax.random.key(0), 16)
    state = {"w": jnp.arange(64.0).reshape(16, 4), "keys": keys}
    store = CheckpointStore(tmp_path, keep=1)
    store.save(3, jax.device_put(state, sharding(saved_devices)), wait=True)
    restored = store.restore(3, abstract(state, sharding(restored_devices)))
    assert_same(restored, state)
    assert len(restored["w"].sharding.device_set) == restored_devices
    assert len(restored["keys"].sharding.device_set) == restored_devices


def test_restores_a_part(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    state = make_state(2)
    store.save(2, state, wait=True)
    part = {"params": state["params"], "step": state["step"]}
    assert_same(store.restore_part(2, abstract(part)), part)
    for missing in ({"parameters": abstract(state["params"])}, {"parameters": {"b": 0}}):
        with pytest.raises(ValueError, match="has no 'parameters/b'"):
            store.restore_part(2, missing)


def test_keeps_the_newest_and_the_permanent(tmp_path):
    with CheckpointStore(tmp_path, keep=2) as store:
        for step in range(1, 6):
            store.save(step, {"step": step}, permanent=step == 2)
    assert store.steps() == [2, 4, 5]
    with CheckpointStore(tmp_path, keep=2) as store:  # as after a restart
        store.save(5, {"step": 5}, permanent=True)  # already there: made permanent only
        for step in range(6, 9):
            store.save(step, {"step": step})
    assert store.steps() == [2, 5, 7, 8]
    assert store.permanent_steps() == [2, 5]
    assert store.restore(5, {"step": 0}) == {"step": 5}


def test_keeps_every_so_many_and_the_best(tmp_path):
    losses = {1: 5.0, 2: 1.0, 3: 7.0, 4: None, 5: 2.0, 6: 9.0, 7: 3.0, 8: 8.0}

    def save(steps, **rules):
        with CheckpointStore(tmp_path, keep=1, **rules) as store:
            for step in steps:
                metrics = {} if losses[step] is None else {"a/loss": losses[step], "a/other": 0.0}
                store.save(step, {"step": step}, metrics=metrics)
        return store.steps()

    lowest = Best(2, "a/loss", "min")
    assert save(range(1, 4), every=3, best=lowest) == [1, 2, 3]
    assert save([4], every=3, best=lowest) == [1, 2, 3, 4]  # the newest, with no metric
    assert save(range(5, 7), every=3, best=lowest) == [2, 3, 5, 6]  # of an earlier start too
    assert save([7], best=Best(2, "a/loss", "max")) == [3, 6, 7]  # other rules from now on
    assert save([8], every=4) == [8]
    with pytest.raises(ValueError, match="mode 'max' or 'min'"):
        CheckpointStore(tmp_path, keep=1, best=Best(1, "a/loss", "least"))


def test_what_a_killed_run_left_is_ignored_and_removed(tmp_path):
    with CheckpointStore(tmp_path, keep=2) as store:
        store.save(1, make_state(1), permanent=True)
    for left in ("2.orbax-checkpoint-tmp", "0.deleted"):
        shutil.copytree(tmp_path / "1", tmp_path / left)
    (tmp_path / "2.permanent").touch()
    store = CheckpointStore(tmp_path, keep=2)
    assert store.steps() == [1]
    step, _ = restore_latest(store, make_state(0))
    assert step == 1
    assert len(names(tmp_path)) == 5  # a reader changes nothing: the run may still be training
    store.save(2, make_state(2), wait=True)
    assert names(tmp_path) == {"1", "1.permanent", "2"}


def damage_largest(checkpoint: pathlib.Path):
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    path = max(files, key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:100])


DAMAGES = {
    "truncated data": damage_largest,
    "no data": lambda path: shutil.rmtree(path / "state" / "ocdbt.process_0"),
    "no state": lambda path: shutil.rmtree(path / "state"),
    "empty names": lambda path: (path / "state" / "_METADATA").write_bytes(b""),
    "empty folder": lambda path: (shutil.rmtree(path), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_set_aside(tmp_path, damage):
    warned = []
    store = CheckpointStore(tmp_path, keep=3, warn=warned.append)
    for step in (1, 2, 3):
        store.save(step, make_state(step), wait=True)
    DAMAGES[damage](tmp_path / "3")
    left = sorted(path.relative_to(tmp_path / "3") for path in (tmp_path / "3").rglob("*"))

    found = store.restore_latest(lambda step: abstract(make_state(step)))
    assert found is not None
    step, state = found
    assert step == 2
    assert_same(state, make_state(2))
    assert names(tmp_path) == {"1", "2", "3.damaged"}
    aside = tmp_path / "3.damaged"
    assert sorted(path.relative_to(aside) for path in aside.rglob("*")) == left  # nothing lost
    assert len(warned) == 1
    assert "checkpoint 3" in warned[0] and "3.damaged" in warned[0] and "2 is next" in warned[0]

    store.save(3, make_state(3), wait=True)  # the step is reached again, and spoilt again
    DAMAGES[damage](tmp_path / "3")
    assert restore_latest(store, make_state(0))[0] == 2
    assert names(tmp_path) == {"1", "2", "3.damaged", "3.damaged.2"}


def test_any_file_cut_short_is_harmless_or_noticed(tmp_path):
    store = CheckpointStore(tmp_path, keep=1, warn=lambda message: None)
    state = {"w": jax.random.normal(jax.random.key(0), (64, 64)), "key": jax.random.key(1)}
    store.save(7, state, wait=True)
    whole = tmp_path / "whole"
    shutil.move(tmp_path / "7", whole)
    for file in [path for path in whole.rglob("*") if path.is_file()]:
        for size in (None, 0, file.stat().st_size // 2):
            for path in tmp_path.glob("7*"):
                shutil.rmtree(path)
            copy = tmp_path / "7" / file.relative_to(whole)
            shutil.copytree(whole, tmp_path / "7")
            copy.unlink() if size is None else os.truncate(copy, size)
            found = store.restore_latest(abstract(state))
            if found is not None:
                assert_same(found[1], state)


def test_another_state_is_not_taken_for_damage(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    store.save(4, {"params": {"w": jnp.ones((4, 2))}, "key": jax.random.key(0)}, wait=True)
    other_shape = {"params": {"w": jnp.ones((4, 3))}, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=r"'params/w' has shape \(4, 2\), and \(4, 3\)"):
        store.restore_latest(abstract(other_shape))
    with pytest.raises(ValueError, match="has 'key', which is not expected"):
        store.restore_latest({"params": {"w": jnp.ones((4, 2))}})
    with pytest.raises(FileNotFoundError, match="no checkpoint 5; it has 4"):
        store.restore(5, other_shape)
    assert names(tmp_path) == {"4"}


def test_a_process_out_of_memory_is_not_taken_for_damage(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path, keep=1)
    store.save(4, {"step": 4}, wait=True)

    def load(*_):
        raise Exception("while reading") from MemoryError()

    monkeypatch.setattr(store_module.ocp, "load", load)
    with pytest.raises(Exception, match="while reading"):
        store.restore_latest({"step": 0})
    assert names(tmp_path) == {"4"}


class FailedResponse:
    def result(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path, keep=2)
    store.save(1, make_state(1), wait=True)

    def save_async(path, state, **_):
        (pathlib.Path(path).parent / f"{path.name}.orbax-checkpoint-tmp").mkdir()
        return FailedResponse()

    with monkeypatch.context() as patched:
        patched.setattr(store_module.ocp, "save_async", save_async)
        store.save(2, make_state(2), permanent=True)
        with pytest.raises(CheckpointError) as caught:
            store.save(3, make_state(3))
    assert str(caught.value) == (
        f"checkpoint 2 could not be written to {tmp_path}: the disk is full; the last good one is 1"
    )
    assert names(tmp_path) == {"1"}
    assert_same(store.restore(1, abstract(make_state(0))), make_state(1))
    store.save(3, make_state(3), wait=True)  # once there is space again
    assert store.steps() == [1, 3]


@contextlib.contextmanager
def small_disk(path: pathlib.Path):
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("this user cannot mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_disk_that_is_really_full(tmp_path):
    small, large = ({"w": jax.random.normal(jax.random.key(0), (n, n))} for n in (100, 1500))
    with small_disk(tmp_path / "disk") as disk:
        store = CheckpointStore(disk / "checkpoints", keep=2)
        store.save(1, small, wait=True)
        with pytest.raises(CheckpointError, match="checkpoint 2 .*: the disk is full; .* is 1$"):
            store.save(2, large, wait=True)
        assert_same(restore_latest(store, small)[1], small)
        store.save(3, small, wait=True)
        assert names(disk / "checkpoints") == {"1", "3"}


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="keep is 0"):
        CheckpointStore(tmp_path, keep=0)


class Written:
    def __init__(self, path):
        self.path = path

    def result(self):
        (self.path / "commit_success.txt").touch()


def test_in_a_bucket_a_checkpoint_is_complete_when_it_says_so(bucket, monkeypatch):
    """Orbax itself writes to none here: TensorStore has its own way to buckets."""

    def save_async(path, state, **_):
        (path / "state").mkdir(parents=True)
        (path / "state" / "data").write_text(str(state))
        return Written(path)

    monkeypatch.setattr(store_module.ocp, "save_async", save_async)
    with CheckpointStore("gs://bucket/run/checkpoints", keep=1) as store:
        assert store.directory == bucket / "run" / "checkpoints" and store.steps() == []
        store.save(1, {}, permanent=True, wait=True)
        store.save(2, {}, wait=True)
        store.save(3, {})
        assert store.steps() == [1, 2]
    assert store.steps() == [1, 3] and store.permanent_steps() == [1]
    (store.directory / "3" / "commit_success.txt").unlink()  # as a kill would leave it
    with CheckpointStore(store.directory, keep=1) as store:
        assert store.steps() == [1]
        store.save(4, {})
    assert {path.name for path in store.directory.iterdir()} == {"1", "1.permanent", "4"}
