"""The suite of revisions in one picture: the ratio, and what becomes of attempts in a chain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from rlsearch.figure import save, subplots
from rlsearch.text import for_picture

Row = dict[str, Any]


def draw(rows: Sequence[Row], revised: Sequence[Row], path: epath.Path, title: str) -> None:
    """Writes a PNG of three panels.

    Args:
        rows, revised: of `Revisions.run`.
    """
    figure, (ratio, attempts, turned) = subplots(1, 3, figsize=(16.0, 4.6), dpi=120)
    _ratio(ratio, rows)
    _attempts(attempts, revised)
    _turned(turned, revised)
    figure.suptitle(for_picture(title))
    figure.tight_layout()
    save(figure, path)


def _ratio(axes: Any, rows: Sequence[Row]) -> None:
    """Accuracy against the ratio, a line for each budget; dashed where the majority chooses."""
    budgets = sorted({row["budget"] for row in rows})
    colours = {budget: f"C{number % 10}" for number, budget in enumerate(budgets)}
    for verifier, budget in dict.fromkeys((row["verifier"], row["budget"]) for row in rows):
        same = [row for row in rows if (row["verifier"], row["budget"]) == (verifier, budget)]
        lengths = sorted({row["settings"]["sequential"] for row in same})
        places, share, low, high = [], [], [], []
        for length in lengths:
            points = [row for row in same if row["settings"]["sequential"] == length]
            places.append(length / points[0]["settings"]["parallel"])
            share.append(100 * np.mean([row["accuracy"] for row in points]))
            low.append(share[-1] - 100 * np.mean([row["ci95"][0] for row in points]))
            high.append(100 * np.mean([row["ci95"][1] for row in points]) - share[-1])
        majority = verifier == "none"
        axes.errorbar(
            places,
            share,
            yerr=None if majority else [low, high],
            marker="v" if majority else "o",
            linestyle="--" if majority else "-",
            markersize=4,
            elinewidth=0.6,
            capsize=2,
            color=colours[budget],
            label=f"{budget} attempts, {'majority' if majority else for_picture(verifier)}",
        )
    axes.set_xscale("log", base=4)
    most = [row["settings"] for row in rows if row["budget"] == budgets[-1]]
    ticks = {x["sequential"] / x["parallel"]: f"{x['sequential']}:{x['parallel']}" for x in most}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    axes.set_xlabel(f"sequential to parallel, as {budgets[-1]} attempts are spent")
    axes.set_ylabel("solved (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _attempts(axes: Any, revised: Sequence[Row]) -> None:
    """Draws how often each attempt of the longest chain is right."""
    longest = max(revised, key=lambda row: row["sequential"])
    share = [100 * value for value in longest["by_attempt"]]
    axes.plot(range(1, len(share) + 1), share, "o-", markersize=4)
    axes.set_xlabel("attempt of a chain")
    axes.set_ylabel("right (%)")
    axes.grid(alpha=0.3)


def _turned(axes: Any, revised: Sequence[Row]) -> None:
    """Draws what became of attempts that were revised, by the length of their chains."""
    chains = [row for row in revised if row["sequential"] > 1]
    kinds = (
        ("right_to_wrong", "right, revised into wrong"),
        ("wrong_to_right", "wrong into right"),
    )
    for number, (kind, label) in enumerate(kinds):
        heights = [100 * (row[kind] or 0.0) for row in chains]
        places = [place + 0.4 * number - 0.2 for place in range(len(chains))]
        bars = axes.bar(places, heights, width=0.38, label=label)
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(range(len(chains)), [str(row["sequential"]) for row in chains])
    axes.set_xlabel("attempts of a chain")
    axes.set_ylabel("of those that were revised (%)")
    axes.set_ylim(0, 110)
    axes.legend(fontsize=7, loc="upper right")
