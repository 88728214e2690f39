"""Training and test-time compute on one axis, in one picture."""

from collections.abc import Sequence

from etils import epath

from rlsearch.figure import save, subplots
from rlsearch.measuring.accuracy_picture import colours_of
from rlsearch.measuring.total_compute import RATIOS, Row
from rlsearch.text import for_picture


def draw(rows: Sequence[Row], path: epath.Path, title: str) -> None:
    """Writes a PNG: a panel for each R, and in it for each policy the best for so many FLOPs."""
    figure, panels = subplots(1, len(RATIOS), figsize=(15.0, 4.4), dpi=120, sharey=True)
    colours = colours_of(row["policy"] for row in rows)
    for ratio, axes in zip(RATIOS, panels, strict=True):
        here = [row for row in rows if row["ratio"] == ratio]
        for policy in colours:
            own = [row for row in here if row["policy"] == policy]
            for kind, style in ((False, {"alpha": 0.3, "linestyle": "none"}), (True, {})):
                chosen = [row for row in own if row["frontier"] or not kind]
                axes.plot(
                    [row["total_flops"] for row in chosen],
                    [100 * row["accuracy"] for row in chosen],
                    marker="o",
                    markersize=4,
                    color=colours[policy],
                    label=for_picture(policy) if kind else None,
                    **style,
                )
        answers = here[0]["answers"] if here else 0
        axes.set_title(f"R = {ratio:g}: {answers:,.0f} answers", fontsize=10)
        axes.set_xscale("log")
        axes.set_xlabel("FLOPs in all: training and answers")
        axes.set_ylim(-2, 102)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("solved (%)")
    panels[0].legend(fontsize=8)
    figure.suptitle(f"{for_picture(title)}: training and answering on one axis")
    figure.tight_layout()
    save(figure, path)
