"""The suite of test-time compute in one picture, a row of three panels for each policy."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from rlsearch.figure import save, subplots
from rlsearch.measuring.accuracy_picture import STYLES, label_of
from rlsearch.measuring.equal_tokens import tokens_of
from rlsearch.text import for_picture

COLOURS = {
    "self_consistency": "#8c8c8c",
    "best_of_n": "#d6802b",
    "weighted_best_of_n": "#e3b04b",
    "beam_search": "#2ca02c",
    "lookahead_search": "#17becf",
    "diverse_search": "#9467bd",
    "tree_search": "#1f77b4",
    "drawing_tree": "#0b3d91",
    "mcts_alpha": "#7f3f98",
    "mcts_rollout": "#4c9be8",
    "bfs_v": "#006d5b",
    "dfs_v": "#8c564b",
}
OPTIMAL = {"oracle": ("#c44e52", "-"), "predicted": ("#c44e52", ":")}

Row = dict[str, Any]


def draw(summary: Sequence[Row], optimal: Sequence[Row], path: epath.Path, title: str) -> None:
    """Writes a PNG: accuracy against tokens, against budget with the best of each bin, and by bin.

    Args:
        summary: rows of `accuracy.summarise`.
        optimal: rows of `test_time_compute.best_by_difficulty`.
    """
    policies = list(dict.fromkeys(row["policy"] for row in summary))
    figure, panels = subplots(
        len(policies), 3, figsize=(15.0, 4.3 * len(policies)), dpi=120, squeeze=False
    )
    for policy, (by_tokens, by_budget, by_bin) in zip(policies, panels, strict=True):
        rows = [row for row in summary if row["policy"] == policy]
        best = [row for row in optimal if row["policy"] == policy]
        _strategies(by_tokens, rows)
        shown = for_picture(policy)
        by_tokens.set_title(f"{shown}: every strategy", fontsize=10)
        _optimal(by_budget, rows, best)
        by_budget.set_title(f"{shown}: the best of each difficulty, held out", fontsize=10)
        _bins(by_bin, best)
        for panel in (by_tokens, by_budget, by_bin):
            panel.set_ylim(-2, 102)
            panel.set_ylabel("solved (%)")
            panel.grid(alpha=0.3)
            panel.legend(fontsize=7)
    figure.suptitle(for_picture(title))
    figure.tight_layout()
    save(figure, path)


def _line(axes: Any, rows: Sequence[Row], place: str, **style: Any) -> None:
    rows = sorted(rows, key=lambda row: row[place])
    share = [100 * row["accuracy"] for row in rows]
    low = [100 * (row["accuracy"] - row["ci95"][0]) for row in rows]
    high = [100 * (row["ci95"][1] - row["accuracy"]) for row in rows]
    axes.errorbar(
        [row[place] for row in rows],
        share,
        yerr=[low, high],
        capsize=2,
        elinewidth=0.6,
        markersize=4,
        **style,
    )


def _logarithmic(axes: Any) -> None:
    axes.set_xscale("log", base=4)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()


def _strategies(axes: Any, rows: Sequence[Row]) -> None:
    for name in dict.fromkeys(row["strategy"] for row in rows):
        marker, line = STYLES.get(name, ("P", "-."))
        _line(
            axes,
            [row | {"tokens": tokens_of(row)} for row in rows if row["strategy"] == name],
            "tokens",
            marker=marker,
            linestyle=line or "none",
            color=COLOURS.get(name),
            label=label_of(name),
        )
    _logarithmic(axes)
    axes.set_xlabel("tokens a problem: all candidates, and what the verifier reads")


def _optimal(axes: Any, rows: Sequence[Row], best: Sequence[Row]) -> None:
    for name in ("self_consistency", "best_of_n", "weighted_best_of_n"):
        same = [row for row in rows if row["strategy"] == name]
        if same:
            marker, line = STYLES[name]
            style = {"marker": marker, "linestyle": line, "color": COLOURS[name]}
            _line(axes, same, "budget", label=label_of(name), **style)
    for kind, (colour, line) in OPTIMAL.items():
        same = [row for row in best if row["difficulty"] == kind]
        if same:
            label = f"compute-optimal, {kind} difficulty"
            _line(axes, same, "budget", marker="s", color=colour, linestyle=line, label=label)
    _logarithmic(axes)
    axes.set_xlabel("budget, in sampled solutions")


def _bins(axes: Any, best: Sequence[Row]) -> None:
    rows = [row for row in best if row["difficulty"] == "oracle"]
    if not rows:
        return
    most = max(rows, key=lambda row: row["budget"])
    places = range(1, len(most["by_bin"]) + 1)
    groups = [("compute-optimal", most["by_bin"], OPTIMAL["oracle"][0])]
    if most["baseline_by_bin"] is not None:
        groups.append(("best-of-N", most["baseline_by_bin"], COLOURS["best_of_n"]))
    for number, (label, values, colour) in enumerate(groups):
        heights = [100 * value for value in values]
        left = [place + 0.4 * number - 0.2 for place in places]
        axes.bar(left, heights, width=0.38, color=colour, label=label)
    axes.set_xticks(list(places), [f"{place}" for place in places])
    axes.set_xlabel("difficulty, easiest to hardest fifth")
    axes.set_title(f"budget {most['budget']}, by difficulty", fontsize=10)
