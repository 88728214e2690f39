"""Held-out problems whose words stand among the training problems: what an accuracy may owe to
memory.

An n-gram is n words in a row, whatever their case and what is no letter or digit between them, as
in the reports of GPT-3 (Brown et al. 2020, appendix C). A problem of fewer words is one n-gram.
"""

import re
from collections.abc import Sequence
from typing import Any

from rlsearch.tasks.questions import Problem

WORD = re.compile(r"\w+")
SHOWN = 5  # problems that overlap most


def overlap(held_out: Sequence[Problem], training: Sequence[Problem], words: int) -> dict[str, Any]:
    """The share of the n-grams of each held-out problem that is in some training problem.

    Args:
        words: n.

    Returns:
        Numbers of problems, of held-out ones that have an n-gram in common with training ones, half
        of theirs or all of them, the mean share, and the problems that have most.
    """
    known = {gram for problem in training for gram in ngrams(problem.text, words)}
    shares = []
    for problem in held_out:
        own = ngrams(problem.text, words)
        shares.append(sum(gram in known for gram in own) / max(1, len(own)))
    order = sorted(range(len(shares)), key=lambda i: (-shares[i], i))
    return {
        "words": words,
        "held_out": len(held_out),
        "training": len(training),
        "any": sum(share > 0 for share in shares),
        "half": sum(share >= 0.5 for share in shares),
        "all": sum(share == 1 for share in shares),
        "mean_share": sum(shares) / max(1, len(shares)),
        "most": [
            {"number": held_out[i].number, "share": shares[i], "text": held_out[i].text}
            for i in order[:SHOWN]
            if shares[i] > 0
        ],
    }


def ngrams(text: str, words: int) -> set[tuple[str, ...]]:
    """The n-grams of a text; none where it has no word."""
    found = WORD.findall(text.lower())
    last = max(1, len(found) - words + 1) if found else 0
    return {tuple(found[i : i + words]) for i in range(last)}
