"""Strategies on problems in words: a small open model of random weights, and tokens by hand."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import Lines, ParallelConfig
from rlsearch.decoding.sampling import GREEDY
from rlsearch.measuring.measure import measure, most_drafts
from rlsearch.measuring.open_accuracy import Asking, measure_open
from rlsearch.measuring.worded import examine_open
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.pretrained.opened import open_model
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.drawing_tree import DrawingTree
from rlsearch.tasks.base import NO_TOKEN
from rlsearch.tasks.questions import Questions
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.monte_carlo import first_steps, is_complete, read_solutions
from rlsearch.verifiers.network import NetworkVerifier
from tests.commands import call, read_json
from tests.pretrained.folders import END, open_folder

ASKING = Asking(samples=0, max_tokens=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return open_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    lines = [{"question": f"What is {10**i} + 1?", "answer": str(10**i + 1)} for i in range(4)]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


@pytest.fixture(scope="module")
def opened(folder):
    return open_model(folder, make_mesh(ParallelConfig(data=1), jax.devices()[:1]))


@pytest.fixture(scope="module")
def sits(opened, data):
    """An examination whose prompts differ in length, and who sits it."""
    task = Questions(str(data))
    return examine_open(opened, task, task.problems("test"), ASKING, Lines(6, 5))


def sampled(writer, prompts, seed, sampling=None):
    write = jax.jit(lambda *inputs: writer.sample(*inputs, *([sampling] if sampling else [])))
    return write(prompts, row_keys(jax.random.key(seed), len(prompts)))


def test_solutions_are_the_texts_that_slots_write(opened, data, sits):
    examination, contestant = sits
    task = Questions(str(data))
    _, judged = measure_open(opened, task, task.problems("test"), ASKING)
    draft, _ = sampled(contestant.writer, examination.prompts, 0, GREEDY)
    worded = examination.task
    assert [worded.text(row) for row in np.asarray(draft.line.tokens)] == [
        each.texts[0] for each in judged
    ]
    assert (np.asarray(examination.prompts) == NO_TOKEN).any()  # they have been padded


def test_steps_end_at_lines_and_are_cut_at_their_longest(opened, sits):
    examination, contestant = sits
    format, prompts = contestant.writer.format, jnp.tile(examination.prompts, (8, 1))
    assert format.max_length == ASKING.max_tokens and format.solution_ends == (END,)
    assert opened.tokenizer.decode([format.step_ends[-1]]).count("\n") > 0
    line = sampled(contestant.writer, prompts, 1)[0].line
    tokens, lengths = np.asarray(line.tokens), np.asarray(line.length)
    reasons = {"ended": 0, "cut": 0, "steps": 0}
    for row, length, steps in zip(tokens, lengths, np.asarray(line.num_steps), strict=True):
        assert (row[length:] == NO_TOKEN).all() and (row[:length] != NO_TOKEN).all()
        counted, since = 0, 0
        for token in row[:length]:
            since += 1
            if since == 5 or token in format.step_ends or token == END:
                counted, since = counted + 1, 0
        assert steps == counted + (since > 0)
        assert END not in row[: length - 1]
        ended, cut = row[length - 1] == END, length == format.max_length
        reasons["ended" if ended else "cut" if cut else "steps"] += 1
        assert ended or cut or steps == 6
    assert min(reasons["cut"], reasons["ended"] + reasons["steps"]) > 0, reasons


def test_whole_texts_are_read_as_they_were_written(sits):
    """By the policy's trunk, and by a network of its own along and anew, past padding."""
    examination, contestant = sits
    writer, prompts = contestant.writer, jnp.tile(examination.prompts, (4, 1))
    format, keys = writer.format, row_keys(jax.random.key(2), 4 * len(examination.prompts))
    judge = NetworkVerifier(writer.params, writer.policy.model, "own")

    @jax.jit
    def both(writer, judge):
        draft, memory = writer.start(prompts), None
        memory, _ = judge.start(writer, draft)
        for turn in range(2):
            each = jax.vmap(jax.random.fold_in, (0, None))(keys, turn)
            draft, _ = writer.step(draft, each)
            along, memory, _ = judge.read(writer, draft, memory)
        done = writer.complete(draft, keys)
        read = read_solutions(writer, prompts, done.line.tokens)
        steps = jnp.full(len(prompts), 2)
        scores, _ = judge.step_scores(prompts, done.line.tokens, format)
        again = first_steps(read, steps, format)
        return draft, done, again, writer.complete(again, keys), (along, scores), judge

    draft, done, again, completed, (along, scores), judge = both(writer, judge)
    assert again.line.length.tolist() == draft.line.length.tolist()
    assert again.line.num_steps.tolist() == draft.line.num_steps.tolist()
    np.testing.assert_allclose(again.line.hidden, draft.line.hidden, atol=1e-4)
    np.testing.assert_array_equal(completed.line.tokens, done.line.tokens)
    two = np.asarray(done.line.num_steps) >= 2
    assert two.any()
    np.testing.assert_allclose(np.asarray(scores)[two, 1], np.asarray(along)[two], atol=1e-5)
    padded = np.asarray(prompts != NO_TOKEN).sum(axis=1)
    assert padded.min() < prompts.shape[1]
    np.testing.assert_array_equal(judge.tokens(draft), padded + np.asarray(draft.line.length))
    whole = is_complete(done.line.tokens, format)
    assert whole.all() and not is_complete(jnp.full_like(done.line.tokens, NO_TOKEN), format).any()


def test_answers_are_numbers_that_are_equal_where_they_say_the_same(opened, sits):
    worded = sits[0].task
    texts = ["The answer is 12.", "so 12", "The answer is 7.", "no idea", ""]
    rows = [opened.tokenizer.encode(text) for text in texts]
    solutions = np.full((len(rows), 20), NO_TOKEN, np.int32)
    for place, row in enumerate(rows):
        solutions[place, : len(row)] = row
    said = np.asarray(jax.jit(worded.answers)(None, solutions))
    assert said[0] == said[1] >= 0 and said[2] not in (said[0], -1)
    assert (said[3:] == -1).all() and said.dtype == np.int32
    mapped = jax.jit(jax.vmap(worded.answers, (None, 1), 1))(None, solutions[:, None])
    assert (np.asarray(mapped)[:, 0] == said).all()


def test_each_problem_is_checked_against_its_own_answer(opened, sits):
    examination, _ = sits
    right = [opened.tokenizer.encode(f"The answer is {10**i + 1}") for i in range(4)]
    solutions = np.full((4, 24), NO_TOKEN, np.int32)
    for place, row in enumerate(right):
        solutions[place, : len(row)] = row
    prompts = np.asarray(examination.prompts)
    assert examination.task.check_tokens(prompts, solutions).tolist() == [True] * 4
    assert examination.task.check_tokens(prompts[::-1], solutions).tolist() == [False] * 4


def test_a_tree_writes_solutions_that_are_all_different(sits):
    examination, contestant = sits
    keys = row_keys(jax.random.key(0), 4)
    solve = jax.jit(
        lambda writer: DrawingTree().solve(
            writer, Constant(), examination.prompts, keys, contestant.budget(5)
        )
    )
    found = solve(contestant.writer)
    tokens, done = np.asarray(found.all_tokens), np.asarray(found.all_scores) >= 0
    assert (np.asarray(found.policy_tokens) <= contestant.budget(5).tokens + 24).all()
    for each, finished in zip(tokens, done, strict=True):
        texts = {row.tobytes() for row in each[finished]}
        assert len(texts) == finished.sum() >= 2


def test_answers_do_not_depend_on_the_batch(sits, monkeypatch):
    examination, contestant = sits
    rows = [measure(BestOfN(policy_weight=1.0), contestant, Constant(), examination, 3, (0,))]
    limit = 3 * 2  # two problems at once
    monkeypatch.setattr("rlsearch.measuring.measure.MAX_DRAFTS", limit)
    assert most_drafts(contestant.writer, examination.prompts) == limit
    rows.append(measure(BestOfN(policy_weight=1.0), contestant, Constant(), examination, 3, (0,)))
    assert rows[0].policy_tokens.tolist() == rows[1].policy_tokens.tolist()
    assert rows[0].right.tolist() == rows[1].right.tolist()


COMMAND = ("--task", "questions", "--strategies", "self_consistency", "tree_vote", "--max-steps", 3)


def test_the_command(folder, data, tmp_path):
    argv = ("evaluate", folder, *COMMAND, "--data-dir", data, "--max-step-tokens", 5)
    found = read_json(*argv, "--max-tokens", 12, "--budgets", 2, "--out", tmp_path)
    saved = json.loads((tmp_path / "questions_strategies.json").read_text())
    assert saved["rows"] == found["rows"] and (tmp_path / "questions_strategies.png").exists()
    assert {row["strategy"] for row in found["rows"]} <= {"self_consistency", "tree_vote"}
    assert saved["lines"] == {"max_steps": 3, "max_step_tokens": 5, "delimiter": "\n"}
    assert saved["drawing"] == {"temperature": 0.7, "min_p": 0.05, "policy_weight": 1.0}
    (row,) = [row for row in found["rows"] if row["strategy"] == "self_consistency"]
    assert row["generations"] == 2 and row["policy_tokens"] == pytest.approx(
        2 * found["unit"], rel=0.5
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--budgets", 4), "--budgets needs --strategies"),
        (("--max-steps", 4), "--max-steps needs --strategies"),
        (("--strategies", "greedy", "--samples", 4), "--samples is of no use with --strategies"),
        (("--strategies", "greedier"), "strategy is 'greedier'"),
        (
            ("--strategies", "greedy", "--budgets", 4, "--max-tokens", 4),
            "budgets are 4: there must",
        ),
        (("--strategies", "greedy", "greedy"), "greedy is there twice"),
        (("--strategies", "best_of_n", "--verifier", "value_head"), "--verifier is for runs"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(folder, data, tmp_path, options, said):
    argv = ("evaluate", folder, "--task", "questions", "--data-dir", data, "--out", tmp_path)
    code, out, err = call(*argv, *options)
    assert code == 2 and out == "" and said in err and err.count("error: ") == 1, err
    assert not list(tmp_path.iterdir())
