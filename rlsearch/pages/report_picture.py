"""The curves of several runs in one picture: accuracy against cost, and what was logged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlsearch.figure import png, subplots

COLOURS = ("#1f77b4", "#d6802b", "#2ca02c", "#9467bd", "#c44e52", "#17becf", "#8c6d31", "#e377c2")
LINES = ("-", "--", ":", "-.")
MAX_PANELS = 12
NOT_METRICS = ("step", "seconds", "stage")


def draw(rows: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> bytes:
    """A PNG: one panel of accuracies for each policy, and one for each metric of the training.

    A colour is a group; thin lines are its runs, where it has several.
    """
    from matplotlib import lines

    policies = list(dict.fromkeys(row["policy"] for row in rows))
    names = dict.fromkeys(name for run in runs for line in run["metrics"] for name in line)
    metrics = [name for name in names if name not in NOT_METRICS]
    panels = [*(("accuracy", name) for name in policies), *(("metric", name) for name in metrics)]
    panels = panels[:MAX_PANELS] or [("accuracy", "")]
    groups = list(dict.fromkeys(run["group"] for run in runs))
    colours = {group: COLOURS[number % len(COLOURS)] for number, group in enumerate(groups)}
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure, axes = subplots(
        down, across, figsize=(5.2 * across, 3.9 * down), dpi=120, squeeze=False
    )
    for (kind, name), panel in zip(panels, axes.flat, strict=False):
        if kind == "accuracy":
            _accuracies(panel, [row for row in rows if row["policy"] == name], colours)
            panel.set_title(f"accuracy (%), policy: {name}", fontsize=10)
        else:
            _curves(panel, name, runs, colours)
            panel.set_title(name.replace("_", " "), fontsize=10)
        panel.grid(alpha=0.3)
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    handles = [lines.Line2D([], [], color=colours[group], label=group) for group in groups]
    figure.legend(handles=handles, loc="upper center", fontsize=9, ncols=1 + (len(groups) > 2))
    rows_of_legend = -(-len(groups) // (1 + (len(groups) > 2)))
    figure.tight_layout(rect=(0, 0, 1, 1 - (0.3 + 0.22 * rows_of_legend) / (3.9 * down)))
    return png(figure)


def _accuracies(axes: Any, rows: Sequence[dict[str, Any]], colours: dict[str, str]) -> None:
    strategies = list(dict.fromkeys((row["strategy"], row["verifier"]) for row in rows))
    for group, colour in colours.items():
        for number, strategy in enumerate(strategies):
            of = [
                r for r in rows if (r["group"], r["strategy"], r["verifier"]) == (group, *strategy)
            ]
            of.sort(key=lambda row: row["policy_tokens"])
            if not of:
                continue
            label = strategy[0].replace("_", " ")
            low, high = (
                [100 * abs(row[end] - row["accuracy"]) for row in of]
                for end in ("lowest", "highest")
            )
            axes.errorbar(
                [row["policy_tokens"] for row in of],
                [100 * row["accuracy"] for row in of],
                yerr=[low, high],
                color=colour,
                linestyle=LINES[number % len(LINES)],
                marker="o",
                markersize=3,
                capsize=2,
                linewidth=1.2,
                label=label if group == rows[0]["group"] else None,
            )
    axes.set_xscale("log", base=4)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    axes.set_ylim(-2, 102)
    axes.set_xlabel("policy tokens a problem; bars: range over trainings", fontsize=8)
    if rows:
        axes.legend(fontsize=7)


def _curves(axes: Any, name: str, runs: Sequence[dict[str, Any]], colours: dict[str, str]) -> None:
    for group, colour in colours.items():
        curves = []
        for run in runs:
            lines = [line for line in run["metrics"] if run["group"] == group and name in line]
            points = [(line["step"], line[name]) for line in lines if line[name] is not None]
            if points:
                curves.append(np.array(points, float))
        for curve in curves:
            axes.plot(*curve.T, color=colour, linewidth=0.7, alpha=0.45 if len(curves) > 1 else 1)
        if len(curves) > 1:
            steps = sorted(set.intersection(*(set(curve[:, 0]) for curve in curves)))
            values = [[dict(curve.tolist())[step] for step in steps] for curve in curves]
            axes.plot(steps, np.mean(values, axis=0), color=colour, linewidth=1.6)
    axes.set_xlabel("step", fontsize=8)
