"""FLOPs of writing and of reading, counted as they are computed: padding is paid for too."""

from rlsearch.decoding.policy import Policy
from rlsearch.networks.flops import flops_per_token
from rlsearch.runs.lineage import Lineage
from rlsearch.tasks.base import Task


def writing_flops(policy: Policy, task: Task, tokens: int, per_turn: int) -> float:
    """FLOPs of reading one prompt and of evaluating `tokens` tokens behind it, `per_turn` at a time
    in a cache of their own."""
    model, prompt = policy.model, task.prompt_length
    context = prompt + policy.format.max_length + per_turn
    read = prompt * flops_per_token(model, prompt, policy=False)
    return read + tokens * flops_per_token(model, context)


def row_flops(policy: Policy, length: int) -> float:
    """FLOPs of one update on a row of `length` tokens: a forward pass, and a backward one that
    costs two."""
    return 3 * length * flops_per_token(policy.model, length)


def flops_spent(lineage: Lineage, stage: str, with_empty: bool = False) -> float:
    """FLOPs of the whole training of a stage, by default without those on empty places of rows."""
    step = lineage.stage(stage).flops(lineage)
    return lineage.num_steps(stage) * (step.total if with_empty else step.needed)
