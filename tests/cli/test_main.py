import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from rlsearch.cli import main as main_module
from rlsearch.cli import output, solve, train
from rlsearch.cli.main import main
from rlsearch.config_data import ConfigError
from rlsearch.training import loop
from rlsearch.training.stopping import TrainingStopped
from tests.tiny import write_config_file


def failed(capsys, *argv):
    """Exit code and the one line on standard error; nothing is printed elsewhere."""
    code = main(list(argv))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return code, captured.err


def python(script, **environment):
    """Runs a script in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("", "rlsearch: the following arguments are required: COMMAND"),
        ("trian", "there is no COMMAND 'trian': the nearest is train; valid are train, evaluate"),
        ("train", "rlsearch train: the following arguments are required: CONFIG"),
        ("train game24 --jsn", "there is no option '--jsn': the nearest is --json; valid are"),
        ("train game24 --sead 3", "the nearest is --seed"),
        ("train game24 again", "'again' is one argument too many"),
        ("train game24 --run-dir", "expected one argument"),
        ("train nowhere", "there is no config 'nowhere'"),
        ("evaluate run --seed 3", "there is no option '--seed': the nearest is --seeds"),
        ("evaluate run --budgets 0", "argument --budgets: is '0': it must be at least 1"),
        ("evaluate run --seeds x", "it must be a whole number of at least 0"),
        ("evaluate run --search.policy puct", "there is no option '--search.policy'"),
        ("solve run", "the following arguments are required: PROBLEM"),
        ("bench serch game24", "there is no KIND 'serch': the nearest is search"),
        ("data prepare game42", "there is no NAME 'game42': the nearest is game24"),
        ("data prepared game24", "there is no ACTION 'prepared': the nearest is prepare"),
    ],
)
def test_bad_usage_is_one_sentence(capsys, argv, sentence):
    code, line = failed(capsys, *argv.split())
    assert code == 2
    assert line.startswith("error: rlsearch") or "config 'nowhere'" in line
    assert sentence in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("--distilled.search.num_simulation 3", "is no field: the nearest is num_simulations"),
        (
            "--distilled.search.policy best",
            "distilled.search.policy is 'best': it must be 'gumbel', 'puct' or 'draw'",
        ),
        ("--seed", "seed got no value"),
    ],
)
def test_a_bad_field_is_one_sentence(capsys, tmp_path, argv, sentence):
    path = write_config_file(tmp_path / "small.py")
    for order in ([path, *argv.split()], [*argv.split(), "--json", path]):
        code, line = failed(capsys, "train", *order)
        assert code == 2
        assert sentence in line


def test_fields_may_stand_anywhere():
    argv = "train --seed 3 game24 --accuracy.budgets 1 4 --json --parallel.data -1 --name=a b"
    fields, rest = main_module._split_fields(argv.split(), main_module.TOP_FIELDS)
    assert rest == ["train", "game24", "--json", "b"]
    assert fields == "--seed 3 --accuracy.budgets 1 4 --parallel.data -1 --name=a".split()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("a is 3"), 2, "error: a is 3"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "error: x: No such file"),
        (FileNotFoundError("no run in x"), 2, "error: no run in x"),
        (OSError(28, "No space left on device", "y"), 1, "error: y: No space left on device"),
        (RuntimeError("out of memory\nand much more"), 1, "error: out of memory\n"),
        (FloatingPointError("the loss is nan"), 1, "error: the loss is nan"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_failures_are_one_line(capsys, monkeypatch, error, code, line):
    def run(arguments, overrides):
        raise error

    monkeypatch.setattr(solve, "run", run)
    found, text = failed(capsys, "solve", "run", "4 7 8 8")
    assert found == code
    assert text.startswith(line)
    monkeypatch.setenv("RLSEARCH_TRACEBACK", "1")
    assert main(["solve", "run", "4 7 8 8"]) == code
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_training_says_how_to_go_on(capsys, monkeypatch, sent, code):
    def stopped(config, run_dir):
        raise TrainingStopped(7, 9, sent)

    monkeypatch.setattr(loop, "train", stopped)
    argv = ["train", "game24", "--name=a b", "--json"]
    monkeypatch.setattr(sys, "argv", ["/venv/bin/rlsearch", *argv])
    found, line = failed(capsys, *argv)
    assert found == code
    assert line == (
        f"stopped by {sent.name}: step 7 of 9 is saved; "
        "resume with: /venv/bin/rlsearch train game24 '--name=a b' --json\n"
    )
    monkeypatch.setattr(sys, "argv", ["/src/rlsearch/__main__.py", *argv])
    assert f"resume with: {sys.executable} -m rlsearch train game24" in failed(capsys, *argv)[1]


def test_a_checkpoint_error_exits_with_1(capsys, monkeypatch):
    class CheckpointError(Exception):
        pass

    def run(arguments, overrides):
        raise CheckpointError("no checkpoint in x")

    store = SimpleNamespace(CheckpointError=CheckpointError)
    monkeypatch.setitem(sys.modules, "rlsearch.checkpoints.store", store)
    monkeypatch.setattr(solve, "run", run)
    assert failed(capsys, "solve", "run", "4") == (1, "error: no checkpoint in x\n")


def test_a_fault_of_ours_shows_its_traceback(monkeypatch):
    def run(arguments, overrides):
        raise TypeError

    monkeypatch.setattr(solve, "run", run)
    with pytest.raises(TypeError):
        main(["solve", "run", "4"])


@pytest.mark.parametrize(("module", "code"), [("rlsearch.tasks.x", 2), ("jax.x", None)])
def test_only_our_value_errors_are_for_the_user(capsys, monkeypatch, module, code):
    scope = {"__name__": module}
    exec("def run(arguments, overrides):\n    raise ValueError('a is 3')", scope)
    monkeypatch.setattr(solve, "run", scope["run"])
    if code is None:
        with pytest.raises(ValueError, match="a is 3"):
            main(["solve", "run", "4"])
    else:
        assert failed(capsys, "solve", "run", "4") == (code, "error: a is 3\n")


def test_an_error_whose_frames_jax_has_hidden_is_not_for_the_user(monkeypatch):
    mesh, spec = jax.make_mesh((2,), ("data",)), jax.sharding.PartitionSpec("data")
    odd = jax.shard_map(lambda x: x, mesh=mesh, in_specs=spec, out_specs=spec)
    scope = {"__name__": "rlsearch.tasks.x", "odd": odd, "x": jax.numpy.ones(3)}
    exec("def run(arguments, overrides):\n    odd(x)", scope)
    monkeypatch.setattr(solve, "run", scope["run"])
    with pytest.raises(ValueError, match="not evenly divisible"):
        main(["solve", "run", "4"])


def test_json_is_all_there_is_on_standard_output(capsys, monkeypatch):
    def run(arguments, overrides):
        print("progress")
        output.emit(arguments, {"a": float("nan"), "b": (1, 2.5)}, "text")
        return 0

    monkeypatch.setattr(train, "run", run)
    assert main(["train", "game24", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": None, "b": [1, 2.5]}
    assert captured.err == "progress\n"
    assert main(["train", "game24"]) == 0
    assert capsys.readouterr().out == "progress\ntext\n"


@pytest.mark.parametrize("command", ["", "train", "evaluate", "solve", "bench", "data"])
def test_help(capsys, command):
    assert main([*command.split(), "--help"]) == 0
    assert "usage: rlsearch" in capsys.readouterr().out


def test_usage_errors_do_not_import_jax():
    script = """
import sys
from rlsearch.cli.main import main
codes = [main(["train", "nowhere"]), main(["--help"]), main(["bench"])]
assert codes == [2, 0, 2], codes
assert not {"jax", "numpy", "tensorflow_datasets"} & set(sys.modules)
"""
    done = python(script)
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_ends_quietly():
    script = """
import os, sys
reader, writer = os.pipe()
os.dup2(writer, 1)
os.close(writer)
os.close(reader)
from rlsearch.cli.main import main
sys.exit(main(["--help"]))
"""
    done = python(script, PYTHONUNBUFFERED="")  # argparse itself ignores a write that fails
    assert (done.returncode, done.stderr) == (1, "")


def test_a_bucket_without_its_package_is_one_sentence(capsys, monkeypatch):
    def refuse(*_):
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(solve, "run", refuse)
    code, sentence = failed(capsys, "solve", "gs://bucket/run", "4 7 8 8")
    assert code == 1 and sentence.endswith("install the extra gcs\n")
