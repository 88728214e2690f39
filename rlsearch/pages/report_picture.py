"""The curves of several runs in one picture: accuracy against cost, and what each stage logged."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rlsearch.figure import png, subplots
from rlsearch.text import for_picture

COLOURS = ("#1f77b4", "#d6802b", "#2ca02c", "#9467bd", "#c44e52", "#17becf", "#8c6d31", "#e377c2")
LINES = ("-", "--", ":", "-.")
ACROSS = 4
MAX_PANELS = 12  # of the accuracies, and of each stage
MAX_STAGES = 8
MAX_LABELS = 16  # of a legend
NOT_METRICS = ("step", "stage_step", "seconds", "stage")
MAX_TITLE = 26  # characters of either name in a panel's title
WIDTH, HEIGHT, LEGEND_LINE = 4.6, 3.5, 0.24  # inches

Row = dict[str, Any]


class Panel(NamedTuple):
    """The content of one panel: accuracies of a policy, or a metric of a stage."""

    of: str  # a benchmark or a stage
    name: str  # of the policy or the metric
    training: bool


def draw(rows: Sequence[Row], runs: Sequence[Row]) -> bytes:
    """A PNG: a panel of accuracies for each benchmark and policy, and below them one for each
    metric of each stage, which begins a line of its own.

    A metric is one of a stage: what two stages call the same may be measured otherwise. A colour is
    a group; thin lines are its runs, where it has several.
    """
    from matplotlib import lines

    places = panels(rows, runs)
    groups = list(dict.fromkeys(run["group"] for run in runs))
    colours = {group: COLOURS[number % len(COLOURS)] for number, group in enumerate(groups)}
    across, down = max(column for _, column in places) + 1, max(line for line, _ in places) + 1
    shown = groups[:MAX_LABELS] if len(groups) > 1 else []
    legend = LEGEND_LINE * len(shown) + 0.2 * bool(shown)
    height = HEIGHT * down + legend
    figure, axes = subplots(down, across, figsize=(WIDTH * across, height), dpi=120, squeeze=False)
    for place in np.ndindex(down, across):
        panel, where = places.get(place), axes[place]
        if panel is None:
            where.set_axis_off()
            continue
        if panel.training:
            _curves(where, panel, runs, colours)
            metric = for_picture(panel.name.replace("_", " "), MAX_TITLE)
            where.set_title(f"{for_picture(panel.of, MAX_TITLE)}: {metric}", fontsize=10)
        else:
            _accuracies(where, [row for row in rows if _is_of(row, panel)], colours)
            benchmark = panel.of.replace("_", " ")
            where.set_title(for_picture(f"{benchmark}, policy {panel.name}: accuracy"), fontsize=10)
        where.grid(alpha=0.3)
    if shown:
        handles = [
            lines.Line2D([], [], color=colours[group], label=for_picture(group)) for group in shown
        ]
        if len(groups) > len(shown):
            handles[-1].set_label(f"and {len(groups) - len(shown) + 1} others")
        figure.legend(handles=handles, loc="upper center", fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - legend / height))
    return png(figure)


def panels(rows: Sequence[Row], runs: Sequence[Row]) -> dict[tuple[int, int], Panel]:
    """The panels by line and column: accuracies first, then stage after stage."""
    measured = dict.fromkeys(Panel(row["benchmark"], row["policy"], False) for row in rows)
    stages: dict[str, dict[Panel, None]] = {}
    for line in (line for run in runs for line in run["metrics"]):
        stage = line.get("stage") or "training"
        names = [name for name in line if name not in NOT_METRICS]
        stages.setdefault(stage, {}).update(
            dict.fromkeys(Panel(stage, name, True) for name in names)
        )
    blocks = [list(measured)[:MAX_PANELS]]
    blocks += [list(found)[:MAX_PANELS] for found in list(stages.values())[:MAX_STAGES]]
    places, first = {}, 0
    for block in blocks:
        for number, panel in enumerate(block):
            places[first + number // ACROSS, number % ACROSS] = panel
        first += -(-len(block) // ACROSS)
    return places or {(0, 0): Panel("", "", False)}


def _is_of(row: Row, panel: Panel) -> bool:
    return (row["benchmark"], row["policy"]) == (panel.of, panel.name)


def _accuracies(axes: Any, rows: Sequence[Row], colours: dict[str, str]) -> None:
    kinds = list(dict.fromkeys(_kind(row) for row in rows))
    several = any(row["training_seeds"] > 1 for row in rows)
    named: set[Any] = set()
    for group, colour in colours.items():
        for number, kind in enumerate(kinds):
            of = [row for row in rows if row["group"] == group and _kind(row) == kind]
            of.sort(key=lambda row: row["policy_tokens"])
            if not of:
                continue
            ends = [(row["lowest"], row["highest"]) if several else row["ci95"] for row in of]
            axes.errorbar(
                [row["policy_tokens"] for row in of],
                [100 * row["accuracy"] for row in of],
                yerr=[
                    [
                        100 * abs(pair[end] - row["accuracy"])
                        for pair, row in zip(ends, of, strict=True)
                    ]
                    for end in (0, 1)
                ],
                color=colour if len(colours) > 1 else COLOURS[number % len(COLOURS)],
                linestyle=LINES[number % len(LINES)],
                marker="o",
                markersize=3,
                capsize=2,
                linewidth=1.2,
                label=None if kind in named or len(named) >= MAX_LABELS else _label(*kind),
            )
            named.add(kind)
    if any(row["policy_tokens"] > 0 for row in rows):
        axes.set_xscale("log", base=4)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    axes.set_ylim(-2, 102)
    axes.set_ylabel("%", fontsize=8)
    bars = "range over trainings" if several else "95% over problems"
    axes.set_xlabel(f"policy tokens a problem; bars: {bars}", fontsize=8)
    if rows:
        axes.legend(fontsize=7)


def _kind(row: Row) -> tuple[str, str, bool]:
    return row["strategy"], row["verifier"], bool(row["oracle"])


def _label(strategy: str, verifier: str, oracle: bool) -> str:
    by = "oracle" if oracle else "" if verifier in ("value head", "none") else verifier
    return for_picture(f"{strategy.replace('_', ' ')}{f' ({by})' * bool(by)}", limit=40)


def _curves(axes: Any, panel: Panel, runs: Sequence[Row], colours: dict[str, str]) -> None:
    for group, colour in colours.items():
        curves = []
        for run in runs:
            points = [
                (line["step"], line[panel.name])
                for line in run["metrics"]
                if run["group"] == group and (line.get("stage") or "training") == panel.of
                if line.get(panel.name) is not None
            ]
            if points:
                curves.append(np.array(points, float))
        for curve in curves:
            axes.plot(*curve.T, color=colour, linewidth=0.7, alpha=0.45 if len(curves) > 1 else 1)
        if len(curves) > 1:
            steps = sorted(set.intersection(*(set(curve[:, 0]) for curve in curves)))
            values = [[dict(curve.tolist())[step] for step in steps] for curve in curves]
            axes.plot(steps, np.mean(values, axis=0), color=colour, linewidth=1.6)
    axes.set_xlabel("step", fontsize=8)
