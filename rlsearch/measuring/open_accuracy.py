"""Accuracy of an open model on problems in words: greedy, by sampling, and by majority vote.

Every problem is asked in a conversation of its own. All samples of a problem share its prompt, and
slots are refilled as texts end (`rlsearch.decoding.slots`). The host judges the texts, when all are
written. What was asked, and how, stands beside every accuracy: two ways of asking can be 40 points
apart.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import check
from rlsearch.decoding.sampling import GREEDY, Sampling
from rlsearch.decoding.slots import (
    Requests,
    advance,
    bucket,
    empty_slots,
    padded,
    read_prompts,
)
from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.measuring.pass_at_k import pass_at_k
from rlsearch.parallel.mesh import row_keys
from rlsearch.pretrained.opened import OpenModel
from rlsearch.pretrained.worded import check_room
from rlsearch.tasks.chat import INSTRUCTION, Chat
from rlsearch.tasks.questions import Problem, TextTask

AT_ONCE = 64  # problems whose prompts are kept


@dataclasses.dataclass(frozen=True)
class Asking:
    """The way in which problems are asked, and texts are written."""

    samples: int = 16  # n, of each problem, beside a greedy text
    max_tokens: int = 256  # of a text
    temperature: float = 0.7  # of the samples
    top_p: float = 1.0  # of the samples
    slots: int = 32  # texts written at once
    seed: int = 0
    system: str = ""  # said in front of all
    instruction: str = INSTRUCTION  # said behind a problem

    def __post_init__(self):
        check(self.samples >= 0, self, "samples", "at least 0")
        check(self.max_tokens >= 1, self, "max_tokens", "at least 1")
        check(self.slots >= 1, self, "slots", "at least 1")
        Sampling(self.temperature, top_p=self.top_p)

    def prompt(self, opened: OpenModel, problem: Problem) -> list[int]:
        """The tokens of a problem's conversation."""
        messages = Chat(self.system, self.instruction).messages(problem)
        return opened.tokenizer.conversation(messages, opened.folder)


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """The texts of one problem."""

    problem: Problem
    texts: tuple[str, ...]
    answers: tuple[str, ...]
    right: tuple[bool, ...]
    tokens: tuple[int, ...]
    cut: tuple[bool, ...]  # by their longest length

    def voted(self, number: int) -> bool:
        """Tells whether the commonest answer of the first texts is right; of equals the first."""
        counts = collections.Counter(answer for answer in self.answers[:number] if answer)
        if not counts:
            return False
        answer, _ = counts.most_common(1)[0]
        return self.right[self.answers.index(answer)]


Report = Callable[[str, float], None]  # hears a line, and which share of the work is behind it


def measure_open(
    opened: OpenModel,
    task: TextTask,
    problems: Sequence[Problem],
    asking: Asking,
    report: Report = lambda line, done: None,
) -> tuple[dict[str, Any], list[Judged]]:
    """Asks all problems, greedily and `asking.samples` times.

    Returns:
        The table, and the samples of every problem (the greedy texts where there are none).

    Raises:
        ValueError: a problem's prompt leaves no room for an answer in the model's context, or there
            is no problem.
    """
    sampling = Sampling(asking.temperature, top_p=asking.top_p)
    rows, total = [], len(problems) * (1 + asking.samples)

    def judged(sampling: Sampling, number: int, before: int) -> list[Judged]:
        found: list[Judged] = []
        for part in _parts(opened, problems, asking):
            for problem, texts in _written(opened, part, asking, sampling, number):
                found.append(_verdict(opened, task, problem, texts))
            right = np.mean([np.mean(x.right) for x in found])
            name = "samples" if sampling.temperature else "greedy"
            done = (before + len(found) * number) / total
            report(f"{name}: {100 * right:.1f}% of {len(found)} problems", done)
        return found

    greedy = judged(GREEDY, 1, 0)
    share, half = _mean([judged.right[0] for judged in greedy])
    ends = wilson_interval(sum(judged.right[0] for judged in greedy), len(greedy))
    rows.append(_row("greedy", 1, share, ends, greedy))
    found = greedy
    if asking.samples:
        found = judged(sampling, asking.samples, len(problems))
        number = asking.samples
        right = np.array([sum(judged.right) for judged in found])
        share, half = _mean(right / number)
        rows.append(_row("sample", 1, share, (share - half, share + half), found))
        sizes = [2**i for i in range(1, number.bit_length()) if 2**i <= number]
        for k in sizes:
            share, half = _mean(pass_at_k(number, right, k))
            rows.append(_row("pass", k, share, (share - half, share + half), found))
        for k in sizes[1:]:
            votes = [judged.voted(k) for judged in found]
            ends = wilson_interval(sum(votes), len(votes))
            rows.append(_row("majority", k, sum(votes) / len(votes), ends, found))
    table = {
        "model": opened.folder,
        "task": {"cls": type(task).__name__, **dataclasses.asdict(task)},  # pyright: ignore
        "asking": dataclasses.asdict(asking),
        "prompt": opened.tokenizer.library.decode(
            asking.prompt(opened, problems[0]), skip_special_tokens=False
        ),
        "problems": len(problems),
        "rows": rows,
    }
    return table, found


def _mean(values: Any) -> tuple[float, float]:
    """The mean over problems, and half of its 95% interval."""
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(1.96 * values.std() / math.sqrt(len(values)))


def _row(
    strategy: str, budget: int, share: float, ends: tuple[float, float], judged: list[Judged]
) -> dict[str, Any]:
    tokens = np.mean([np.mean(x.tokens) for x in judged])
    return {
        "strategy": strategy,
        "budget": budget,
        "accuracy": share,
        "ci95": [max(0.0, ends[0]), min(1.0, ends[1])],
        "tokens_per_text": float(tokens),
        "cut": float(np.mean([np.mean(x.cut) for x in judged])),
        "without_answer": float(np.mean([np.mean([not a for a in x.answers]) for x in judged])),
    }


class Part(NamedTuple):
    """Problems that are written about at once."""

    problems: Sequence[Problem]
    prompts: list[list[int]]  # tokens
    keys: jax.Array  # [N] typed, one a problem
    width: int  # tokens of the longest prompt of all parts


def prompts_of(opened: OpenModel, problems: Sequence[Problem], asking: Asking) -> list[list[int]]:
    """The tokens of each problem's conversation.

    Raises:
        ValueError: one leaves no room for an answer in the model's context, or there is none.
    """
    if not problems:
        raise ValueError("problems are none: there must be at least one")
    prompts = [asking.prompt(opened, problem) for problem in problems]
    check_room(problems, prompts, asking.max_tokens, opened.context)
    return prompts


def _parts(opened: OpenModel, problems: Sequence[Problem], asking: Asking) -> list[Part]:
    """Cuts problems into parts; the key of a problem is that of its place."""
    prompts = prompts_of(opened, problems, asking)
    keys, width = (
        row_keys(jax.random.key(asking.seed), len(problems)),
        bucket(max(map(len, prompts))),
    )
    places = [slice(i, i + AT_ONCE) for i in range(0, len(problems), AT_ONCE)]
    return [Part(problems[at], prompts[at], keys[at], width) for at in places]


def _verdict(
    opened: OpenModel, task: TextTask, problem: Problem, written: list[list[int]]
) -> Judged:
    texts = tuple(opened.tokenizer.decode(tokens) for tokens in written)
    return Judged(
        problem,
        texts,
        answers=tuple(task.answer(text) for text in texts),
        right=tuple(task.check(problem, text) for text in texts),
        tokens=tuple(map(len, written)),
        cut=tuple(tokens[-1] not in opened.tokenizer.ends for tokens in written),
    )


def _written(
    opened: OpenModel, part: Part, asking: Asking, sampling: Sampling, number: int
) -> list[tuple[Problem, list[list[int]]]]:
    """Writes `number` texts behind each prompt: the problems, each with tokens of its texts."""
    tokens, real = padded(part.prompts, part.width)
    each = jax.vmap(lambda key: jax.random.split(key, number))(part.keys).reshape(-1)
    which = np.repeat(np.arange(len(tokens)), number)
    limits = jnp.full(which.shape, asking.max_tokens)
    requests = Requests(jnp.asarray(which), each, limits, jnp.asarray(opened.tokenizer.ending()))
    read = read_prompts(opened.model, opened.params, tokens, real)
    slots = empty_slots(read, requests, min(asking.slots, which.size), bucket(asking.max_tokens))
    texts = advance(opened.model, opened.params, slots, read, requests, sampling).texts
    cut = [
        row[:length].tolist()
        for row, length in zip(np.asarray(texts.tokens), np.asarray(texts.lengths), strict=True)
    ]
    own = [cut[start : start + number] for start in range(0, len(cut), number)]
    return list(zip(part.problems, own, strict=True))
