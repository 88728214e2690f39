"""Tokenizers and chat templates as they are, and as they must not be."""

import json
import time

import numpy as np
import pytest

from rlsearch.pretrained import template as template_module
from rlsearch.pretrained.template import ChatTemplate
from rlsearch.pretrained.tokenizer import read_tokenizer
from tests.pretrained.folders import END, SPECIAL, VOCAB, open_folder

HELLO = [{"role": "user", "content": "Hello\n<b>"}]


@pytest.fixture
def folder(tmp_path):
    return open_folder(tmp_path, scale=0.0)


def refused(folder, *parts, vocab_size=VOCAB):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_tokenizer(folder, vocab_size)
    said = str(caught.value)
    assert "\n" not in said and str(folder) in said, said
    for part in parts:
        assert part in said, said


def test_text_goes_to_tokens_and_back(folder):
    tokenizer = read_tokenizer(folder, VOCAB)
    for text in (
        "12 and a half.\n\n",
        "\u00e9\u4e16\U0001f600",
        " two  spaces ",
        "<think>x</think>",
    ):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text and max(tokens) < VOCAB
    assert len(tokenizer.encode("12")) == 1
    marked = tokenizer.encode(f"a{SPECIAL[0]}")
    assert marked[-1] == END and tokenizer.decode(marked) == "a"
    assert tokenizer.decode([VOCAB + 5, *tokenizer.encode("b")]) == "b"
    assert set(tokenizer.special) == set(SPECIAL)


def test_the_ends_of_texts_and_of_steps(folder):
    tokenizer = read_tokenizer(folder, VOCAB)
    assert tokenizer.ends == (END,)
    assert np.flatnonzero(tokenizer.ending()).tolist() == [END]
    holding = np.flatnonzero(tokenizer.holding("\n")).tolist()
    texts = [tokenizer.decode([token]) for token in holding]
    assert sorted(texts) == ["\n", ".\n", ".\n\n"]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [END, 3]}))
    assert read_tokenizer(folder, VOCAB).ends == (3, END)


def test_an_embedding_may_be_a_little_longer_than_its_tokenizer(folder):
    tokenizer = read_tokenizer(folder, VOCAB + 100)
    assert len(tokenizer.texts) == VOCAB + 100 and tokenizer.texts[-1] == ""
    refused(folder, f"has {VOCAB} tokens", f"has {VOCAB + 300}", vocab_size=VOCAB + 300)
    refused(folder, f"has {VOCAB} tokens", f"has {VOCAB - 1}", vocab_size=VOCAB - 1)


def test_damaged_files_are_named(folder):
    whole = (folder / "tokenizer.json").read_text()
    for text in ("{}", whole[:-40], '{"version": "9"}', "[" * 200):
        (folder / "tokenizer.json").write_text(text)
        refused(folder, "tokenizer.json", "is damaged")
    (folder / "tokenizer.json").write_bytes(b"\xff\xfe{}")
    refused(folder, "tokenizer.json", "UTF-8")
    (folder / "tokenizer.json").unlink()
    refused(folder, "tokenizer.json")
    (folder / "tokenizer.json").write_text(whole)
    for said, part in (("[]", "must be an object"), ('{"chat_template": 3}', "must be a text")):
        (folder / "tokenizer_config.json").write_text(said)
        refused(folder, "tokenizer_config.json", part)
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "config.json").write_text('{"eos_token_id": 99999}')
    refused(folder, "eos_token_id is [99999]")


def test_a_template_may_be_a_file_a_field_or_one_of_several(folder):
    def template():
        found = read_tokenizer(folder, VOCAB).template
        return found and found.source

    def settings(said):
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": said}))

    settings("one")
    assert template() == "one"
    settings([{"name": "tool_use", "template": "x"}, {"name": "default", "template": "two"}])
    assert template() == "two"
    settings(None)
    assert template() is None
    with pytest.raises(ValueError, match="has no chat template: neither chat_template.jinja nor"):
        read_tokenizer(folder, VOCAB).chat_template(folder)
    (folder / "chat_template.jinja").write_text("three")
    assert template() == "three"


def render(source, **values):
    return ChatTemplate(source, "the file", (("eos_token", "</s>"),)).render(HELLO, **values)


def test_what_templates_use():
    assert render("{{ messages[0].content | trim }}{{ eos_token }}") == "Hello\n<b></s>"
    assert render("{{ messages | tojson }}") == json.dumps(HELLO)
    blocks = "{% for m in messages %}\n  {% generation %}\n{{ m.role }}{% endgeneration %}\n"
    assert render(blocks + "{% endfor %}") == "user"
    loop = "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    assert render(loop) == "01"
    assert render("{{ strftime_now('%Y-%m-%d') }}") == "2024-07-26"  # the same one every day
    assert render("{{ add_generation_prompt }}{{ enable_thinking }}", enable_thinking=False) == (
        "TrueFalse"
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ messages.nothing.more }}", "UndefinedError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ cycler.__init__.__globals__ }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{% include '/etc/passwd' %}", "TypeError"),
        ("{{ 'a' * 10**10 }}", "too much memory"),
        (
            "{% set x = namespace(y='aa') %}{% for i in range(60) %}"
            "{% set x.y = x.y ~ x.y %}{% endfor %}{{ x.y }}",
            "too much memory",
        ),
        ("{{ 'ab' * 4000000 }}", "writes 8000000 characters: it must write at most 4194304"),
    ],
)
def test_what_a_template_must_not_do_is_one_sentence(source, said):
    with pytest.raises(ValueError) as caught:
        render(source)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith("the file: its chat template ")
    assert render("{{ eos_token }}") == "</s>"  # the next one is rendered


def test_a_template_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr(template_module, "SECONDS", 1.0)
    began = time.monotonic()
    many = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(ValueError, match="takes more than 1 s"):
        render(many)
    assert time.monotonic() - began < 30
    assert render("{{ eos_token }}") == "</s>"


def test_a_conversation_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="the conversation has 4194305 characters"):
        ChatTemplate("x", "f").render([{"role": "user", "content": "x" * (2**22 + 1)}])
    with pytest.raises(ValueError, match="has 1048577 characters"):
        ChatTemplate("x" * (2**20 + 1), "f")
