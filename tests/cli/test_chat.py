"""`rlsearch chat`, with a small model of random weights."""

import json

import pytest

from tests.commands import call, read_json, succeed
from tests.pretrained.folders import CONTEXT, open_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return open_folder(tmp_path_factory.mktemp("model"))


def test_messages_are_answered_one_after_another(folder):
    argv = ("chat", folder, "--message", "One", "Two", "--max-tokens", 5, "--reasoning-tokens", 5)
    found = read_json(*argv)
    assert [turn["text"] for turn in found["turns"]] == ["One", "Two"]
    assert all(turn["answer_tokens"] <= 5 for turn in found["turns"])
    assert found["turns"][1]["prompt_tokens"] > found["turns"][0]["prompt_tokens"]
    assert read_json(*argv) == found
    about = read_json("chat", folder, "--message", "http://a b", *argv[4:])
    assert about["turns"][0]["text"] == "http://a b"
    shown = succeed(*argv)
    assert shown.splitlines()[-1].startswith("2 turns, ")


def test_lines_are_read_and_a_bad_one_ends_nothing(folder):
    lines = f"One\n\n<|start|>\n{'long ' * CONTEXT}\nTwo\n"
    code, out, err = call(
        "chat", folder, "--max-tokens", 3, "--reasoning-tokens", 3, "--json", lines=lines
    )
    assert code == 0
    assert [turn["text"] for turn in json.loads(out)["turns"]] == ["One", "Two"]
    assert "must not hold '<|start|>'" in err and f"context has {CONTEXT}" in err
    assert json.loads(call("chat", folder, "--json", lines=None)[1]) == {"turns": []}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (("--max-tokens", "0"), "at least 1"),
        (("--temperature", "-1"), "must be a number from 0 to 100"),
        (("--top-p", "2"), "top_p is 2.0: it must be in (0, 1]"),
        (("--message", "<|end|>"), "it must not hold '<|end|>'"),
        (("--system", " "), "system is ' ': it must say something"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder, broken, said):
    code, out, err = call("chat", folder, *broken)
    assert code == 2 and out == "" and said in err and err.count("\n") == 1, err


def test_a_folder_without_a_model_a_tokenizer_or_a_template(folder, tmp_path):
    def refused(said):
        code, out, err = call("chat", tmp_path, "--message", "One")
        assert code == 2 and out == "" and said in err and err.count("\n") == 1, err

    refused("config.json")
    open_folder(tmp_path, template=None)
    refused("has no chat template")
    (tmp_path / "tokenizer.json").unlink()
    refused("tokenizer.json")
    (tmp_path / "config.json").write_text(json.dumps({"format": 3, "name": "game24"}))
    refused("model_type is None")  # a run of this package's own is no such folder
