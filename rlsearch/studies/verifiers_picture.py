"""The suite of verifiers in one picture: what they make of N samples, and how well they judge."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from rlsearch.figure import save, subplots
from rlsearch.text import for_picture

STYLES = {"best_of_n": ("o", "-"), "weighted_best_of_n": ("D", "--")}
MEASURES = (("accuracy", "accuracy"), ("auc", "AUC"), ("calibration_error", "calibration error"))

Row = dict[str, Any]


def draw(rows: Sequence[Row], verifiers: Sequence[Row], path: epath.Path, title: str) -> None:
    """Writes a PNG of three panels: accuracy over N, calibration of steps, and their measures.

    Args:
        rows, verifiers: of `Verifiers.run`.
    """
    names = list(dict.fromkeys(row["verifier"] for row in rows if row["strategy"] in STYLES))
    colours = {name: f"C{number % 10}" for number, name in enumerate(names)}
    figure, (curves, calibration, measures) = subplots(1, 3, figsize=(16.0, 4.6), dpi=120)
    _curves(curves, rows, colours)
    judged = [row for row in verifiers if "steps" in row]
    _calibration(calibration, judged)
    _measures(measures, judged)
    figure.suptitle(for_picture(title))
    figure.tight_layout()
    save(figure, path)


def _curves(axes: Any, rows: Sequence[Row], colours: dict[str, str]) -> None:
    for strategy, verifier in dict.fromkeys((row["strategy"], row["verifier"]) for row in rows):
        same = [r for r in rows if (r["strategy"], r["verifier"]) == (strategy, verifier)]
        share = [100 * row["accuracy"] for row in same]
        budgets = [row["budget"] for row in same]
        if strategy == "pass_at_n":
            axes.plot(budgets, share, ":", color="#8c8c8c", label="any sample is right")
        elif strategy == "self_consistency":
            axes.plot(budgets, share, "v-", color="#4d4d4d", label="majority vote")
        else:
            marker, line = STYLES[strategy]
            kind = "best-of-N" if strategy == "best_of_n" else "weighted best-of-N"
            low = [100 * (row["accuracy"] - row["ci95"][0]) for row in same]
            high = [100 * (row["ci95"][1] - row["accuracy"]) for row in same]
            axes.errorbar(
                budgets,
                share,
                yerr=[low, high] if strategy == "best_of_n" else None,
                marker=marker,
                linestyle=line,
                markersize=4,
                elinewidth=0.6,
                capsize=2,
                color=colours[verifier],
                label=f"{for_picture(verifier)}: {kind}",
            )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    axes.set_ylim(-2, 102)
    axes.set_xlabel("N, samples of a problem")
    axes.set_ylabel("solved (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _calibration(axes: Any, verifiers: Sequence[Row]) -> None:
    axes.plot([0, 1], [0, 1], ":", color="#8c8c8c")
    for row in verifiers:
        points = row["steps"]["reliability"]
        scores, shares = [point[0] for point in points], [point[1] for point in points]
        axes.plot(scores, shares, "o-", markersize=4, label=for_picture(row["verifier"]))
    axes.set_xlabel("what the verifier says of steps")
    axes.set_ylabel("share of them that is right")
    axes.grid(alpha=0.3)
    if verifiers:
        axes.legend(fontsize=7)


def _measures(axes: Any, verifiers: Sequence[Row]) -> None:
    width = 0.8 / max(len(verifiers), 1)
    for number, row in enumerate(verifiers):
        heights = [row["steps"][key] or 0.0 for key, _ in MEASURES]
        places = [place + (number + 0.5) * width - 0.4 for place in range(len(MEASURES))]
        cost = row.get("generations")
        label = for_picture(row["verifier"])
        label += "" if cost is None else f" ({cost} generations)"
        bars = axes.bar(places, heights, width=0.95 * width, label=label)
        axes.bar_label(bars, fmt="%.2f", fontsize=6)
    axes.set_xticks(range(len(MEASURES)), [name for _, name in MEASURES])
    axes.set_title("steps, against exact labels", fontsize=10)
    if verifiers:
        axes.legend(fontsize=7)
