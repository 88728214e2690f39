import jax
import jax.numpy as jnp
import pytest
from tensorboardX.proto import event_pb2

from rlsearch.runs.directory import RunDirectory
from rlsearch.training.metrics import MetricsWriter, read_metrics


def write_steps(run, start_step, stop_step, scale=1.0):
    with MetricsWriter(run, start_step) as writer:
        for step in range(start_step + 1, stop_step + 1):
            writer.write(step, 0.5 * step, "base", {"loss": jnp.float32(scale * step)})


def events(run):
    """(step, tag, value) of every scalar, and the steps from which events were purged."""
    scalars, purged = [], []
    for path in sorted(run.tensorboard.iterdir(), key=lambda path: int(path.suffix[1:])):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = event_pb2.Event.FromString(  # pyright: ignore[reportAttributeAccessIssue]
                data[12 : 12 + length]
            )
            data = data[16 + length :]
            if event.HasField("session_log"):
                purged.append(event.step)
            scalars += [
                (event.step, value.tag, value.simple_value) for value in event.summary.value
            ]
    return scalars, purged


def test_metrics_are_written_one_call_late(tmp_path):
    run = RunDirectory(tmp_path)
    writer = MetricsWriter(run, 0)
    assert writer.write(1, 1.0, "base", {"loss": jnp.float32(2), "solved": 3}) is None
    assert read_metrics(run.metrics) == []
    written = writer.write(2, 2.0, "next", {"loss": jnp.float32(jnp.nan), "solved": float("inf")})
    assert written == {"loss": 2.0, "solved": 3.0}
    first = {"step": 1, "seconds": 1.0, "stage": "base", "loss": 2.0, "solved": 3.0}
    assert read_metrics(run.metrics) == [first]
    writer.close()
    writer.close()
    last = {"step": 2, "seconds": 2.0, "stage": "next", "loss": None, "solved": None}
    assert read_metrics(run.metrics)[1:] == [last]
    assert "NaN" not in run.metrics.read_text()
    scalars, _ = events(run)
    assert scalars == [(1, "base/loss", 2.0), (1, "base/solved", 3.0)]


def test_a_write_does_not_read_its_own_metrics(tmp_path, monkeypatch):
    read = []
    device_get = jax.device_get

    def recorded(metrics):
        read.append(sorted(metrics))
        return device_get(metrics)

    writer = MetricsWriter(RunDirectory(tmp_path), 0)
    monkeypatch.setattr(jax, "device_get", recorded)
    writer.write(1, 0.0, "base", {"first": jnp.float32(0)})
    assert read == []
    writer.write(2, 0.0, "base", {"second": jnp.float32(0)})
    assert read == [["first"]]
    writer.close()
    assert read == [["first"], ["second"]]


def test_a_resumed_run_has_every_step_once(tmp_path):
    run = RunDirectory(tmp_path)
    write_steps(run, 0, 7)
    with run.metrics.open("a") as file:
        file.write('{"step": 8, "seco')  # as a kill leaves it
    assert len(read_metrics(run.metrics)) == 7
    write_steps(run, 4, 9, scale=10.0)  # from checkpoint 4
    rows = read_metrics(run.metrics)
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert [row["loss"] for row in rows] == [1, 2, 3, 4, 50, 60, 70, 80, 90]
    scalars, purged = events(run)
    assert purged == [5]
    assert scalars == [
        *((step, "base/loss", 1.0 * step) for step in range(1, 8)),
        *((step, "base/loss", 10.0 * step) for step in range(5, 10)),
    ]
    write_steps(run, 9, 10)
    assert [row["step"] for row in read_metrics(run.metrics)] == list(range(1, 11))


def test_a_run_from_the_start_begins_the_file_anew(tmp_path):
    run = RunDirectory(tmp_path)
    write_steps(run, 0, 3)
    write_steps(run, 0, 1)
    assert [row["step"] for row in read_metrics(run.metrics)] == [1]


def test_a_damaged_line_is_named(tmp_path):
    run = RunDirectory(tmp_path)
    run.metrics.write_text('{"step": 0, "seconds": 0}\n{"step": 1, "sec\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl is damaged: line 2"):
        read_metrics(run.metrics)


def test_wrong_metrics_are_refused(tmp_path):
    with MetricsWriter(RunDirectory(tmp_path), 0) as writer:
        with pytest.raises(ValueError, match="called 'step'"):
            writer.write(1, 0.0, "base", {"step": 1.0})
        with pytest.raises(ValueError, match=r"'loss' has shape \(2,\)"):
            writer.write(1, 0.0, "base", {"loss": jnp.zeros(2)})


def test_metrics_may_be_in_a_bucket(bucket):
    run = RunDirectory(bucket / "run")
    write_steps(run, 0, 3)
    write_steps(run, 2, 4, scale=10.0)  # resumed from checkpoint 2
    assert [row["loss"] for row in read_metrics(run.metrics)] == [1.0, 2.0, 30.0, 40.0]
    scalars, purged = events(run)
    assert len(scalars) == 5 and purged == [3]
    assert {path.name for path in run.path.iterdir()} == {"metrics.jsonl", "tensorboard"}
