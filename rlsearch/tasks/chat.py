"""Problems in words as the first turn of a conversation."""

import dataclasses

from rlsearch.tasks.questions import Problem

INSTRUCTION = "Solve the problem step by step. Then write: The answer is"


@dataclasses.dataclass(frozen=True)
class Chat:
    """A problem, with what stands in front of it and behind."""

    system: str = ""  # said in front of all
    instruction: str = INSTRUCTION  # said behind a problem

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """The turns of a conversation that asks a problem."""
        text = f"{problem.text}\n\n{self.instruction}" if self.instruction else problem.text
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": text}]
