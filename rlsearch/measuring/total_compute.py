"""Pre-training, post-training and test-time compute on one axis of FLOPs.

Training is paid for once, an answer every time: what they add up to depends on how many answers
there will ever be. That is said by R, the tokens answered for each that was pre-trained on (Snell
et al. 2024, section 7), where an answer counts as one sample of the base policy. So a policy
before search distillation, with much test-time compute, and one after it, with little, stand side
by side at what each has cost in all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

RATIOS = (0.16, 0.79, 22.0)  # R, the paper's: far more is learnt than answered, as much, far less

Row = dict[str, Any]


def on_one_axis(
    summary: Sequence[Row],
    trained: Mapping[str, float],
    verifier_flops: float,
    answers_at_one: float,
) -> list[Row]:
    """One row for each R and each row of `accuracy.summarise`, the cheapest first.

    "frontier" marks those that answer more than all rows of their policy that cost no more.

    Args:
        trained: FLOPs by the policy's name; see `OpenedRun.training_flops`.
        verifier_flops: that training the verifier has taken.
        answers_at_one: D_pre over the tokens of one sample, the answers that R = 1 stands for.
    """
    result = []
    for ratio in RATIOS:
        answers, best = ratio * answers_at_one, {}
        rows = [
            {
                "ratio": ratio,
                "answers": answers,
                **{name: row[name] for name in ("policy", "strategy", "verifier", "budget")},
                "training_flops": trained[row["policy"]] + verifier_flops,
                "inference_flops": answers * row["flops"],
                "total_flops": trained[row["policy"]] + verifier_flops + answers * row["flops"],
                "accuracy": row["accuracy"],
                "ci95": row["ci95"],
            }
            for row in summary
        ]
        for row in sorted(rows, key=lambda row: (row["total_flops"], -row["accuracy"])):
            reached = best.get(row["policy"], -1.0)
            result.append({**row, "frontier": row["accuracy"] > reached})
            best[row["policy"]] = max(reached, row["accuracy"])
    return result
