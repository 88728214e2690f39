"""Problems in words: text in, a verdict out, on the host.

GSM8K      grade school mathematics (Cobbe et al. 2021), from its own two files
Questions  any file of JSON lines with a question and an answer
Generated  a generator of the library reasoning-gym whose answers are numbers, by its name
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from etils import epath

from rlsearch.config import check
from rlsearch.files import parse_json, read_lines
from rlsearch.tasks.answers import answer_in, normal, number_in
from rlsearch.text import shortened

MAX_FILE = 2**30  # bytes
MAX_LINE = 2**20  # bytes
MAX_PROBLEMS = 1_000_000
SPLITS = ("test", "train")
OPTION = re.compile(r"[a-z][a-z0-9_]{0,40}=-?[0-9]{1,9}")
HELD_OUT_SEED = 1_000_003  # of generated problems that are held out; training has smaller ones


class Problem(NamedTuple):
    """A problem in words."""

    text: str
    reference: str  # the right answer
    number: int  # its place in its split
    solution: str = ""  # a worked one, which ends in the answer; empty: none is known


class TextTask(Protocol):
    """Problems in words, and a judge of answers in words.

    A judge reads hostile text: it evaluates nothing, and its time is bounded.
    """

    def problems(self, split: str) -> Sequence[Problem]:
        """The problems of a split, "test" or "train"; none is in both."""
        ...

    def check(self, problem: Problem, solution: str) -> bool:
        """Tells whether a solution ends in the right answer."""
        ...

    def answer(self, solution: str) -> str:
        """Returns the answer that a solution ends with, empty for none. Equal ones vote alike."""
        ...


@dataclasses.dataclass(frozen=True)
class Questions:
    """A folder with `test.jsonl` and `train.jsonl`, of which either may be missing."""

    data_dir: str = ""  # the folder
    question: str = "question"  # the field of the problem
    answer_field: str = "answer"  # the field of a text that ends in the right answer

    def problems(self, split: str) -> Sequence[Problem]:
        """See `TextTask`. Raises ValueError where a line has no such fields, and names it."""
        check_split(split)
        check(bool(self.data_dir), self, "data_dir", "the folder of the task's files")
        path = epath.Path(self.data_dir) / f"{split}.jsonl"
        found = []
        for number, line in enumerate(read_lines(path, MAX_FILE, "a task's problems", MAX_LINE)):
            fields = _fields(line)
            text, answer = fields.get(self.question), fields.get(self.answer_field)
            reference = answer_in(answer) if isinstance(answer, str) else ""
            if not isinstance(text, str) or not text.strip() or not reference:
                raise ValueError(
                    f"{path}, line {number + 1}: it must have a text {self.question!r}, and "
                    f"{self.answer_field!r}, which ends in an answer"
                )
            found.append(Problem(text.strip(), reference, number, str(answer).strip()))
        return found

    def check(self, problem: Problem, solution: str) -> bool:
        """See `TextTask`."""
        return self.answer(solution) == normal(problem.reference)

    def answer(self, solution: str) -> str:
        """See `TextTask`."""
        return answer_in(solution)


@dataclasses.dataclass(frozen=True)
class GSM8K(Questions):
    """`train.jsonl` and `test.jsonl` of github.com/openai/grade-school-math."""


@dataclasses.dataclass(frozen=True)
class Generated:
    """Problems of a generator of reasoning-gym: the same ones from the same seed."""

    generator: str = "chain_sum"
    options: tuple[str, ...] = ()  # of the generator, whole numbers: "max_terms=3"
    size: int = 500  # problems of the training split, those left out that are held out
    num_held_out: int = 500
    seed: int = 0  # of the training split

    def __post_init__(self):
        for field in ("size", "num_held_out"):
            valid = f"from 1 to {MAX_PROBLEMS}"
            check(1 <= getattr(self, field) <= MAX_PROBLEMS, self, field, valid)
        check(0 <= self.seed < HELD_OUT_SEED, self, "seed", f"from 0 to {HELD_OUT_SEED - 1}")
        plain = all(OPTION.fullmatch(option) for option in self.options)
        check(plain, self, "options", "a list such as max_terms=3 max_digits=2")

    def problems(self, split: str) -> Sequence[Problem]:
        """See `TextTask`; a training problem that is also held out is left out."""
        held_out = self._entries(HELD_OUT_SEED, self.num_held_out)
        if split == "test":
            return held_out
        check_split(split)
        known = {problem.text for problem in held_out}
        return [
            problem for problem in self._entries(self.seed, self.size) if problem.text not in known
        ]

    def _entries(self, seed: int, size: int) -> list[Problem]:
        each = enumerate(self._data_set(seed, size))
        found = [Problem(str(x["question"]), str(x["answer"]), number) for number, x in each]
        for problem in found[:1]:
            numeric = number_in(normal(problem.reference)) is not None
            check(numeric, self, "generator", "one whose answers are numbers")
        return found

    def _data_set(self, seed: int, size: int) -> Any:
        try:
            import reasoning_gym  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise RuntimeError(
                "generated problems need reasoning-gym: pip install 'rlsearch[reasoning]'"
            ) from error
        options = {name: int(value) for name, value in (x.split("=") for x in self.options)}
        try:
            return reasoning_gym.create_dataset(self.generator, size=size, seed=seed, **options)
        except ValueError as error:
            raise ValueError(
                f"generator is {shortened(self.generator)}: it must be one of reasoning-gym's"
            ) from error
        except (TypeError, AssertionError) as error:
            said = " ".join(self.options)
            raise ValueError(
                f"options are {shortened(said)}: they must be those of {self.generator}: {error}"
            ) from error

    def check(self, problem: Problem, solution: str) -> bool:
        """See `TextTask`."""
        return self.answer(solution) == normal(problem.reference)

    def answer(self, solution: str) -> str:
        """See `TextTask`."""
        return answer_in(solution)


def _fields(line: bytes | None) -> dict[str, Any]:
    """The fields of a line; none where it is too long, or no object."""
    try:
        said = parse_json(line or b"")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def check_split(split: str) -> None:
    """Raises ValueError for what is no split."""
    if split not in SPLITS:
        raise ValueError(f"split is {shortened(split)}: it must be {' or '.join(SPLITS)}")
