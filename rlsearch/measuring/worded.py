"""An examination of an open model on problems in words, by every strategy of the package.

A step is a line of text. Strategies write, search and choose as they do in a language of their own,
in one jitted program; what a solution says in the end, by which votes are counted, the host reads
in that program's midst (`rlsearch.pretrained.worded`). Whether an answer is right, it is asked
afterwards.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from rlsearch.config import Lines
from rlsearch.decoding.language import format_of
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.measuring.examination import Contestant, Examination, mean_solution_tokens
from rlsearch.measuring.open_accuracy import Asking, prompts_of
from rlsearch.pretrained.opened import OpenModel
from rlsearch.pretrained.worded import Worded, posed
from rlsearch.tasks.questions import Problem, TextTask

MEASURED = 32  # problems on which the mean length of a sample is measured


def examine_open(
    opened: OpenModel, task: TextTask, problems: Sequence[Problem], asking: Asking, lines: Lines
) -> tuple[Examination, Contestant]:
    """An examination on problems in words, and an open model that sits it.

    Raises:
        ValueError: a problem's prompt leaves no room for an answer in the model's context, or there
            is no problem.
    """
    asked = posed(problems, prompts_of(opened, problems, asking))
    none = posed([], [])
    format = format_of(lines, opened.tokenizer, asking.max_tokens)
    worded = Worded(
        task,
        opened.tokenizer,
        lambda split: asked if split == "test" else none,
        lambda problem: asking.prompt(opened, problem),
        format.num_steps,
        format.max_length,
    )
    writer = Writer(Policy(opened.model, format, worded.answers), opened.params)
    name = epath.Path(opened.folder).name
    examination: Any = Examination(
        task=worded,  # pyright: ignore[reportArgumentType]  # it has what is asked of it here
        split="held_out",
        prompts=jnp.asarray(asked.prompts),
        folder=epath.Path(opened.folder),
        title=f"{name}: {len(problems)} problems",
    )
    unit = jax.jit(mean_solution_tokens)(writer, examination.prompts[:MEASURED])
    return examination, Contestant(name, 0, writer, float(unit))
