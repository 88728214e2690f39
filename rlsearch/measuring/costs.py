"""The FLOPs of answers."""

from rlsearch.decoding.policy import Policy
from rlsearch.networks.flops import flops_per_token
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.network import NetworkVerifier


def answer_flops(policy: Policy, task: Task, policy_tokens: float) -> float:
    """Forward FLOPs of reading one prompt and evaluating `policy_tokens` tokens after it."""
    context = task.prompt_length + policy.format.max_length / 2
    read = flops_per_token(policy.model, task.prompt_length, policy=False)
    return task.prompt_length * read + policy_tokens * flops_per_token(policy.model, context)


def context_flops(policy: Policy, task: Task, tokens: float, contexts: float) -> float:
    """Forward FLOPs of reading contexts of so many tokens together, beside the prompt itself, and
    of attending to them, and not to the prompt alone, in what is written behind each."""
    if not contexts:
        return 0.0
    length = tokens / contexts
    read = flops_per_token(policy.model, length, policy=False)
    longer = flops_per_token(policy.model, length) - flops_per_token(
        policy.model, task.prompt_length
    )
    return tokens * read + contexts * policy.format.max_length * longer


def verifier_flops(
    judge: Judge | None, policy: Policy, task: Task, verifier_tokens: float
) -> float:
    """Forward FLOPs of a network of a verifier's own that reads so many tokens; else none."""
    if not isinstance(judge, NetworkVerifier):
        return 0.0
    context = task.prompt_length + policy.format.max_length / 2
    return verifier_tokens * flops_per_token(judge.network, context, policy=False)
