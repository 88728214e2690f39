"""The exchange of pre-training and inference in one picture."""

from typing import Any

from etils import epath

from rlsearch.figure import save, subplots
from rlsearch.measuring.accuracy_picture import STYLES, label_of
from rlsearch.text import for_picture

COLOURS = ("#1f77b4", "#2ca02c", "#d6802b")  # of each R

Row = dict[str, Any]


def draw(result: Row, path: epath.Path, title: str) -> None:
    """Writes a PNG of two panels: the small model's curves, and both models by difficulty.

    Args:
        result: of `Exchange.run`.
    """
    figure, (curves, by_bin) = subplots(1, 2, figsize=(12.0, 4.6), dpi=120)
    _curves(curves, result)
    _bins(by_bin, result)
    for panel in (curves, by_bin):
        panel.set_ylim(-2, 102)
        panel.set_ylabel("solved (%)")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    larger = f"{result['parameter_ratio']:.1f} times the parameters, or inference"
    figure.suptitle(f"{for_picture(title)}; {larger}")
    figure.tight_layout()
    save(figure, path)


def _curves(axes: Any, result: Row) -> None:
    ends = []
    for curve in result["curves"]:
        if curve["group"] == "all":
            places, shares = zip(*curve["points"], strict=True)
            name = curve["strategy"]
            marker, line = STYLES.get(name, ("P", "-."))
            label = f"small, {label_of(name)}"
            shares = [100 * share for share in shares]
            axes.plot(places, shares, marker=marker, linestyle=line or "none", label=label)
            ends.append(places[-1])
    large = result["large"]
    axes.axhline(100 * large["accuracy"], color="black", label="large, greedy")
    axes.axhspan(*(100 * end for end in large["ci95"]), color="black", alpha=0.08)
    places = {row["ratio"]: row["multiplier"] for row in result["exchange"]}
    for (ratio, place), colour in zip(places.items(), COLOURS, strict=True):
        beyond = "" if place <= max(ends) else ", beyond the curve"
        label = f"R = {ratio:g}: {place:.1f} times{beyond}"
        axes.axvline(place, color=colour, linestyle=":", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("FLOPs of an answer, in those of one sample")
    axes.set_title("equal FLOPs in all are at the dotted lines", fontsize=10)


def _bins(axes: Any, result: Row) -> None:
    """Bars of the first strategy; one with a dashed edge is of a curve that ends before."""
    first = result["exchange"][0]["strategy"]
    rows = [r for r in result["exchange"] if r["strategy"] == first and r["group"] != "all"]
    names = list(dict.fromkeys(row["group"] for row in rows))
    ratios = list(dict.fromkeys(row["ratio"] for row in rows))
    for number, (ratio, colour) in enumerate(zip(ratios, COLOURS, strict=False)):
        same = [row for row in rows if row["ratio"] == ratio]
        left = [names.index(row["group"]) + 0.25 * (number - 1) for row in same]
        heights = [100 * (row["at_least"] or 0.0) for row in same]
        bars = axes.bar(left, heights, width=0.23, color=colour, label=f"small, R = {ratio:g}")
        for bar, row in zip(bars, same, strict=True):
            if row["small"] is None:
                bar.set(alpha=0.5, edgecolor="black", linestyle="--")
    places = range(len(names))
    large = [100 * next(row["large"] for row in rows if row["group"] == name) for name in names]
    left, right = ([place + side for place in places] for side in (-0.4, 0.4))
    axes.hlines(large, left, right, colors="black", label="large, greedy")
    axes.set_xticks(places, [for_picture(name.removeprefix("bin ")) for name in names])
    axes.set_xlabel("difficulty, easiest to hardest fifth")
    axes.set_title(f"{label_of(first)}; dashed: the curve ends before", fontsize=10)
