"""The language of an open model: its tokens, the format of what it writes, and tasks in them.

Steps are lines of text, and end where a token's text holds a newline.
"""

from typing import Any, NamedTuple

import numpy as np

from rlsearch.classes import class_name
from rlsearch.config import Lines, Pretrained
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.networks.language_model import LanguageModel
from rlsearch.pretrained.describe import describe
from rlsearch.pretrained.tokenizer import TextTokenizer, read_tokenizer
from rlsearch.pretrained.worded import Posed, Worded, check_room, posed
from rlsearch.tasks.base import NO_TOKEN
from rlsearch.tasks.chat import Chat
from rlsearch.tasks.questions import Problem


class Language(NamedTuple):
    """An open model without its weights."""

    folder: str
    model: LanguageModel
    tokenizer: TextTokenizer
    format: SolutionFormat
    context: int  # tokens that it was trained to read


def read_language(pretrained: Pretrained) -> Language:
    """Reads the small files of an open model's folder.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not as it must be; the sentence names it, and the field.
    """
    said = ("dtype", "scan_layers", "remat", "adapter")
    computed = {name: getattr(pretrained, name) for name in said}
    described = describe(pretrained.folder, **computed)
    tokenizer = read_tokenizer(pretrained.folder, described.vocab_size)
    return Language(
        pretrained.folder,
        LanguageModel(described.shape, described.vocab_size),
        tokenizer,
        format_of(pretrained.lines, tokenizer, pretrained.max_tokens),
        described.context,
    )


def format_of(lines: Lines, tokenizer: TextTokenizer, max_tokens: int) -> SolutionFormat:
    """The format of solutions of up to `max_tokens` tokens."""
    return SolutionFormat(
        num_steps=lines.max_steps,
        max_step_length=min(lines.max_step_tokens, max_tokens),
        max_length=min(max_tokens, lines.max_steps * lines.max_step_tokens),
        step_ends=tuple(np.flatnonzero(tokenizer.holding(lines.delimiter)).tolist()),
        pad=NO_TOKEN,
        solution_ends=tokenizer.ends,
    )


def in_words(task: Any, prompting: Any, language: Language) -> Worded:
    """A task in words, asked in conversations with an open model.

    Args:
        task: a `TextTask`.
        prompting: a `Chat`, or None for a plain one.

    Raises:
        ValueError: the task is not in words, or the prompting is no conversation.
    """
    chat = prompting or Chat()
    if not hasattr(task, "problems"):
        raise ValueError(f"task is {class_name(task)}: an open model needs one in words")
    if not hasattr(chat, "messages"):
        raise ValueError(f"prompting is {class_name(chat)}: an open model needs a conversation")

    def ask(problem: Problem) -> list[int]:
        prompt = language.tokenizer.conversation(chat.messages(problem), language.folder)
        check_room([problem], [prompt], language.format.max_length, language.context)
        return prompt

    def pose(split: str) -> Posed:
        problems = task.problems(split)
        return posed(problems, [ask(problem) for problem in problems])

    format = language.format
    return Worded(task, language.tokenizer, pose, ask, format.num_steps, format.max_length)
