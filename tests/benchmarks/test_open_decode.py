"""`rlsearch bench decode` of an open model's folder."""

import pytest

from tests.commands import call, read_json
from tests.pretrained.folders import open_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return open_folder(tmp_path_factory.mktemp("model"))


def test_ratios_are_of_one_run(folder):
    found = read_json("bench", "decode", folder, "--batches", 1, 3)
    assert [row["batch"] for row in found["batches"]] == [1, 3]
    assert all(row["tokens_per_second"] > 0 for row in found["batches"])
    assert found["dtype"] == "float32" and found["parameters"] > 5000
    one, three = found["batches"]
    assert "over_padded_rows" not in one and three["over_padded_rows"] > 0


@pytest.mark.slow
def test_the_peer_writes_the_same_tokens(folder):
    pytest.importorskip("transformers", reason="transformers is not installed")
    argv = ("bench", "decode", folder, "--batches", 2, "--against", "transformers")
    (row,) = read_json(*argv)["batches"]
    assert row["same_tokens"] == 1.0 and row["over_transformers"] > 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("decode", "game24", "--dtype", "bfloat16"), "--dtype is for bench decode of the folder"),
        (("decode", "FOLDER", "--seed", "1"), "--seed is for configs, and this is a folder"),
        (("search", "game24", "--against", "transformers"), "--against is for bench decode"),
    ],
)
def test_options_that_are_for_something_else(folder, argv, said):
    argv = [folder if word == "FOLDER" else word for word in argv]
    code, out, err = call("bench", *argv)
    assert code == 2 and out == "" and said in err and err.count("\n") == 1, err
