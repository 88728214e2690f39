import os
import subprocess
import sys

import pytest

from rlsearch.cli.main import COMMANDS
from rlsearch.jax_switches import ALLOWED
from tests.commands import call

# Every command, with arguments that it accepts; none of them is looked at.
ARGUMENTS = {
    "train": "train game24",
    "evaluate": "evaluate run",
    "solve": "solve run 4,7,8,8",
    "sweep": "sweep game24 --seed 1",
    "report": "report run",
    "arena": "arena random random",
    "chat": "chat folder",
    "play": "play run",
    "inspect": "inspect run 4,7,8,8",
    "export": "export run to",
    "import": "import from to",
    "plan": "plan game24 --topology v5e:2x2",
    "bench": "bench search game24",
    "data": "data prepare game24",
}
REFUSED = {
    "JAX_ENABLE_X64": ("1", "True", "maybe"),
    "JAX_NUMPY_DTYPE_PROMOTION": ("strict", "x" * 9999),
    "JAX_NUMPY_RANK_PROMOTION": ("raise", "\x1b[31m"),
    "JAX_LEGACY_PRNG_KEY": ("error",),
    "JAX_DISABLE_JIT": ("1",),
    "JAX_CHECK_TRACER_LEAKS": ("1",),
    "JAX_NO_TRACING": ("1",),
    "JAX_TRANSFER_GUARD": ("disallow", "log_explicit"),
}


def test_every_command_is_walked():
    names = [command.__name__.rpartition(".")[2].rstrip("_") for command in COMMANDS]
    assert sorted(ARGUMENTS) == sorted(names) and set(REFUSED) == set(ALLOWED)


@pytest.mark.parametrize("command", ARGUMENTS)
def test_each_command_refuses_each_switch_before_any_work(monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    for name, values in REFUSED.items():
        for value in values:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(name, value)
                code, out, err = call(*ARGUMENTS[command].split())
            assert (code, out) == (2, "")
            assert err.startswith(f"error: {name} is ") and err.count("\n") == 1
            assert len(err) < 400 and err.rstrip("\n").isprintable()
            assert err.endswith(f"unset it, or set it to {ALLOWED[name][0]}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ALLOWED)
def test_what_changes_nothing_is_allowed(monkeypatch, name):
    for value in ("", *ALLOWED[name], ALLOWED[name][0].upper()):
        monkeypatch.setenv(name, value)
        assert "there is no config" in call("train", "nowhere")[2]


def test_a_process_of_its_own_says_it_without_importing_jax():
    script = (
        "import sys; from rlsearch.cli.main import main; "
        "code = main(['bench', 'search', 'game24']); "
        "sys.exit(code if 'jax' not in sys.modules else 77)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
