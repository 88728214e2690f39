"""Elo against simulations, and against training time where a run has several checkpoints."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from rlsearch.figure import save, subplots
from rlsearch.text import for_picture

COLOURS = ("#1f77b4", "#d6802b", "#2ca02c", "#9467bd", "#c44e52", "#17becf", "#8c6d31", "#e377c2")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#7f7f7f"

Row = dict[str, Any]


def draw(players: Sequence[Row], path: epath.Path, title: str) -> None:
    """Writes a PNG of the `players` of an arena (see `arena.arena`)."""
    runs = _runs(players)
    several = [run for run, rows in runs.items() if len({_step(row) for row in rows}) > 1]
    figure, panels = subplots(
        1,
        2 if several else 1,
        figsize=(13.0 if several else 7.0, 4.8),
        dpi=150,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    _draw_simulations(panels[0, 0], players, runs)
    panels[0, 0].set_ylabel("Elo (random moves: 0)")
    if several:
        panels[0, 0].set_title("the newest checkpoint", fontsize=10)
        panels[0, 1].set_title("all checkpoints", fontsize=10)
        _draw_time(panels[0, 1], runs, several)
    figure.suptitle(for_picture(title))
    figure.supxlabel("bars: 95% intervals against the mean of all players", fontsize=8)
    save(figure, path)


def _draw_simulations(axes: Any, players: Sequence[Row], runs: dict[str, list[Row]]) -> None:
    """The newest checkpoint of each run, and the plain searches."""
    plain = [row for row in players if row["settings"]["kind"] == "mcts"]
    lines = [(rows, name, number) for number, (name, rows) in enumerate(_newest(runs).items())]
    numbers = {
        row["settings"]["num_simulations"] for row in players if row["settings"]["kind"] != "random"
    }
    searched = sorted(numbers - {0}) or [1]
    left = searched[0] / 4.0  # where the policy without a search stands, in place of log 0

    def place(row: Row) -> float:
        return row["settings"]["num_simulations"] or left

    axes.axhline(0.0, color=GREY, linestyle=":", linewidth=1.2, label="random moves")
    if plain:
        _line(axes, plain, place, color=GREY, marker="x", linestyle="--", label="plain MCTS")
    for rows, name, number in lines:
        # Beside each other, so that no bar hides another.
        aside = 2.0 ** (0.06 * (number + 1))
        label, style = for_picture(name), _style(number)
        _line(axes, rows, lambda row, aside=aside: aside * place(row), label=label, **style)
    axes.set_xscale("log", base=2)
    ticks = [*([left] if 0 in numbers else []), *searched]
    axes.set_xticks(ticks, ["policy" if tick == left else str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.margins(x=0.08)
    axes.set_xlabel("simulations of a move")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _draw_time(axes: Any, runs: dict[str, list[Row]], several: Sequence[str]) -> None:
    """A line for each run with several checkpoints and number of simulations."""
    numbers = sorted({row["settings"]["num_simulations"] for rows in runs.values() for row in rows})
    steps = any(row["settings"]["training_seconds"] is None for run in several for row in runs[run])

    def place(row: Row) -> float:
        return _step(row) if steps else row["settings"]["training_seconds"]

    axes.axhline(0.0, color=GREY, linestyle=":", linewidth=1.2)
    for number, (name, rows) in enumerate(runs.items()):
        for strength in numbers if name in several else ():
            same = [row for row in rows if row["settings"]["num_simulations"] == strength]
            rank = numbers.index(strength)
            style = _style(number, 0.6 * (1 - (rank + 1) / len(numbers)))
            style["marker"] = MARKERS[rank % len(MARKERS)]
            label = f"{for_picture(name)}, {f'simulations: {strength}' if strength else 'policy'}"
            _line(axes, same, place, label=label, **style)
    axes.set_xlabel("training steps" if steps else "seconds of training")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _line(axes: Any, rows: Sequence[Row], place: Any, **style: Any) -> None:
    rows = sorted(rows, key=place)
    elo = [row["elo"] for row in rows]
    low = [max(0.0, row["elo"] - row["ci95_from_mean"][0]) for row in rows]
    high = [max(0.0, row["ci95_from_mean"][1] - row["elo"]) for row in rows]
    axes.errorbar(
        [place(row) for row in rows],
        elo,
        yerr=[low, high],
        markersize=5,
        capsize=2,
        elinewidth=0.8,
        **style,
    )


def _style(number: int, white: float = 0.0) -> dict[str, Any]:
    """Colour and marker of a run; `white` is the share of white in the colour."""
    colour = COLOURS[number % len(COLOURS)]
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    mixed = tuple(white + (1 - white) * part for part in parts)
    return {"color": mixed, "marker": MARKERS[number % len(MARKERS)], "linestyle": "-"}


def _runs(players: Sequence[Row]) -> dict[str, list[Row]]:
    """The players of each run, by its name; in the order of their names, not of their strength."""
    runs: dict[str, list[Row]] = {}
    for row in sorted(players, key=lambda row: row["name"]):
        if row["settings"]["kind"] == "run":
            runs.setdefault(row["name"].rpartition("@")[0], []).append(row)
    return runs


def _newest(runs: dict[str, list[Row]]) -> dict[str, list[Row]]:
    return {
        name: [row for row in rows if _step(row) == max(map(_step, rows))]
        for name, rows in runs.items()
    }


def _step(row: Row) -> int:
    return row["settings"]["checkpoint_step"]
