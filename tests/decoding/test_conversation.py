"""Conversations: what is carried from turn to turn, what is dropped, and what ends an answer."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.decoding import conversation as module
from rlsearch.decoding.conversation import Answering, Conversation
from rlsearch.decoding.sampling import Sampling
from rlsearch.parallel.mesh import make_mesh
from rlsearch.pretrained.opened import open_model
from tests.pretrained.folders import CONTEXT, SPECIAL, TEMPLATE, open_folder

KEY = jax.random.key(0)
END = SPECIAL[0]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = open_folder(tmp_path_factory.mktemp("model"))
    return open_model(folder, make_mesh(ParallelConfig(data=1), jax.devices()[:1]))


class Script:
    """Stands for a model that writes given texts, one after another; remembers its prompts."""

    def __init__(self, monkeypatch, tokenizer, *texts):
        self.tokenizer, self.prompts = tokenizer, []
        self.texts = [tokenizer.encode(text) for text in texts]
        for name in ("read_prompts", "empty_slots", "advance"):
            monkeypatch.setattr(module, name, getattr(self, name))

    def read_prompts(self, model, params, tokens, real):
        del model, params
        own = tokens[0][real[0]].tolist()
        self.prompts.append(self.tokenizer.library.decode(own, skip_special_tokens=False))

    def empty_slots(self, prompts, requests, slots, longest):
        assert slots == 1 and int(requests.limits[0]) <= longest
        self.limit, self.text = int(requests.limits[0]), self.texts.pop(0)
        return 0

    def advance(self, model, params, slots, prompts, requests, sampling, turns):
        number = (slots if isinstance(slots, int) else int(slots.texts.lengths[0])) + turns
        tokens = self.text[: min(number, self.limit)]
        texts = SimpleNamespace(lengths=np.array([len(tokens)]), tokens=np.array([tokens]))
        return SimpleNamespace(texts=texts)


def test_inputs_and_answers_are_carried_and_reasoning_is_dropped(opened, monkeypatch):
    thought = f"<think>It is {'very ' * 9}hard.</think>"
    script = Script(
        monkeypatch, opened.tokenizer, thought, f"\n\nFour.{END}", thought, f"Five.{END}"
    )
    heard = []
    conversation = Conversation(opened, "Be brief.")
    first = conversation.ask("2 + 2?", KEY, heard.append)
    second = conversation.ask("And one more?", KEY)
    assert (first.answer, second.answer) == ("Four.", "Five.")
    assert first.reasoning == f"It is {'very ' * 9}hard." and not first.forced and not first.cut
    assert "".join(heard) == f"{thought}\n\nFour."
    start = f"<|start|>system\nBe brief.{END}\n<|start|>user\n2 + 2?{END}\n<|start|>assistant\n"
    said = f"Four.{END}\n<|start|>user\nAnd one more?{END}\n<|start|>assistant\n"
    assert script.prompts == [start, start + thought, start + said, start + said + thought]
    assert "very" not in str(conversation.messages)
    assert first.answer_tokens == len(opened.tokenizer.encode(f"\n\nFour.{END}"))
    assert first.reasoning_tokens == len(opened.tokenizer.encode(thought))
    assert first.prompt_tokens == len(opened.tokenizer.encode(start))


def test_reasoning_that_has_spent_its_budget_is_ended_and_answered(opened, monkeypatch):
    script = Script(monkeypatch, opened.tokenizer, "<think>" + "so " * 60, f"7{END}")
    heard = []
    answering = Answering(reasoning_tokens=20)
    turn = Conversation(opened, answering=answering).ask("Well?", KEY, heard.append)
    assert turn.forced and turn.answer == "7" and not turn.cut
    kept = opened.tokenizer.decode(opened.tokenizer.encode("<think>" + "so " * 60)[:20])
    assert script.prompts[1].endswith(f"{kept}\n</think>\n\n")
    assert "".join(heard) == f"{kept}\n</think>\n\n7"


def test_a_mark_inside_the_budget_is_no_force(opened, monkeypatch):
    Script(monkeypatch, opened.tokenizer, "<think>a</think> b c d e f g h", f"7{END}")
    turn = Conversation(opened, answering=Answering(reasoning_tokens=40)).ask("Well?", KEY)
    assert (turn.answer, turn.reasoning, turn.forced) == ("7", "a", False)


def test_a_model_that_ends_inside_its_reasoning_answers_all_the_same(opened, monkeypatch):
    script = Script(monkeypatch, opened.tokenizer, f"<think>I give up{END}", f"No idea.{END}")
    turn = Conversation(opened).ask("Well?", KEY)
    assert turn.answer == "No idea." and turn.forced and turn.reasoning == "I give up"
    assert script.prompts[1].endswith("<think>I give up\n</think>\n\n")


def test_a_template_may_begin_the_reasoning(tmp_path, monkeypatch):
    folder = open_folder(tmp_path, TEMPLATE.replace("assistant\n", "assistant\n<think>\n"))
    opened = open_model(folder, make_mesh(ParallelConfig(data=1), jax.devices()[:1]))
    script = Script(monkeypatch, opened.tokenizer, "hm</think>rest", f"7{END}", f"8{END}")
    turn = Conversation(opened).ask("Well?", KEY)
    assert (turn.answer, turn.reasoning) == ("7", "hm")
    turn = Conversation(opened, answering=Answering(reasoning_tokens=0)).ask("Well?", KEY)
    assert (turn.answer, turn.reasoning, turn.forced) == ("8", "", True)
    assert script.prompts[-1].endswith("<think>\n\n</think>\n\n")


def test_an_answer_has_its_longest_length(opened, monkeypatch):
    Script(monkeypatch, opened.tokenizer, "abcdefghijklmnopqrstuvwxyz" * 4)
    turn = Conversation(opened, answering=Answering(max_tokens=21)).ask("Well?", KEY)
    assert turn.answer == "abcdefghijklmnopqrstu" and turn.cut and turn.answer_tokens == 21


def test_a_mark_that_is_written_out_does_not_come_back_as_one(opened, monkeypatch):
    library = opened.tokenizer.library
    spelled = [library.token_to_id(letter) for letter in "<|start|>"]
    script = Script(monkeypatch, opened.tokenizer, "x", f"y{END}")
    script.texts[0] = [*spelled, *opened.tokenizer.encode(f"system{END}")]
    conversation = Conversation(opened)
    assert conversation.ask("One", KEY).answer == "system"
    conversation.ask("Two", KEY)
    assert script.prompts[1].count("<|start|>") == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \n", "it must say something"),
        (f"a{SPECIAL[1]}system", "it must not hold '<|start|>'"),
        ("a\udcff", "it must be UTF-8"),
        ("long " * CONTEXT, f"the model's context has {CONTEXT}"),
    ],
)
def test_what_cannot_be_said_is_refused_and_nothing_is_lost(opened, text, said):
    conversation = Conversation(opened)
    with pytest.raises(ValueError, match=said.replace("|", r"\|")):
        conversation.ask(text, KEY)
    assert conversation.messages == []
    if "context" not in said:
        with pytest.raises(ValueError, match="system is"):
            Conversation(opened, text if text.strip() else " ")


def test_the_model_itself_writes_the_same_again(opened):
    """A model of random weights; the key decides, and the piece are those of the whole."""
    answering = Answering(max_tokens=40, reasoning_tokens=40, sampling=Sampling(1.0, top_k=8))

    def ask(key):
        heard = []
        turn = Conversation(opened, answering=answering).ask("Well?", key, heard.append)
        return turn, "".join(heard)

    first, heard = ask(KEY)
    assert first.answer_tokens == 40 and first.cut
    assert ask(KEY) == (first, heard) and ask(jax.random.key(1)) != (first, heard)
    assert heard.strip() == first.answer


@pytest.mark.parametrize("fields", [{"max_tokens": 0}, {"reasoning_tokens": -1}, {"end": ""}])
def test_ways_of_answering_that_are_none(fields):
    with pytest.raises(ValueError, match="it must be"):
        Answering(**fields)
