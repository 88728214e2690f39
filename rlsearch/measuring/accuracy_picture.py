"""Accuracy against generated tokens: one line a policy and strategy."""

from collections.abc import Iterable, Sequence
from typing import Any

from etils import epath

from rlsearch.figure import save, subplots
from rlsearch.text import for_picture

STYLES = {
    "greedy": ("*", ""),
    "self_consistency": ("v", ":"),
    "best_of_n": ("o", "--"),
    "weighted_best_of_n": ("D", "--"),
    "beam_search": ("^", "-."),
    "lookahead_search": (">", "-."),
    "diverse_search": ("<", "-."),
    "tree_search": ("s", "-"),
    "revisions": ("X", "-"),
    "mcts_alpha": ("p", "-"),
    "mcts_rollout": ("h", "-"),
    "bfs_v": ("d", "-"),
    "dfs_v": ("H", "-"),
}
COLOURS = ("#7f7f7f", "#1f77b4", "#d6802b", "#9467bd", "#2ca02c", "#8c564b")
LABELS = {
    "best_of_n": "best-of-N",
    "weighted_best_of_n": "weighted best-of-N",
    "mcts_alpha": "MCTS-alpha",
    "mcts_rollout": "MCTS-rollout",
    "bfs_v": "BFS-V",
    "dfs_v": "DFS-V",
}


def label_of(strategy: str) -> str:
    """The name of a strategy in a legend."""
    return for_picture(LABELS.get(strategy, strategy.replace("_", " ")))


def colours_of(policies: Iterable[str]) -> dict[str, str]:
    """A colour for each policy, by their order: the first is the one that others start from."""
    names = dict.fromkeys(policies)
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}


def draw(rows: Sequence[dict[str, Any]], path: epath.Path, title: str) -> None:
    """Writes a PNG of the summary `rows` (see `accuracy.summarise`)."""
    figure, axes = subplots(figsize=(7.5, 5.0), dpi=150)
    colours = colours_of(row["policy"] for row in rows)
    lines: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        kind = (row["policy"], row["strategy"], row["verifier"], row["oracle"])
        lines.setdefault(kind, []).append(row)
    for (policy, strategy, verifier, oracle), points in lines.items():
        points = sorted(points, key=lambda row: row["policy_tokens"])
        marker, line = STYLES.get(strategy, ("P", "-."))
        tokens = [row["policy_tokens"] for row in points]
        share = [100 * row["accuracy"] for row in points]
        low = [100 * (row["accuracy"] - row["ci95"][0]) for row in points]
        high = [100 * (row["ci95"][1] - row["accuracy"]) for row in points]
        label = f"{policy}, {LABELS.get(strategy, strategy.replace('_', ' '))}"
        label += " (oracle)" if oracle else f" ({verifier})" if verifier != "value head" else ""
        axes.errorbar(
            tokens,
            share,
            yerr=[low, high],
            marker=marker,
            linestyle=":" if oracle else line or "none",
            markersize=12 if strategy == "greedy" else 6,
            color=colours[policy],
            label=for_picture(label),
            capsize=2,
            elinewidth=0.8,
        )
    axes.set_xscale("log", base=4)
    # Samples cost what a budget says; a search's cost comes out somewhere near.
    sampled = [row for row in rows if row["strategy"] in ("greedy", "best_of_n")] or rows
    ticks = sorted({round(row["policy_tokens"]) for row in sampled})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(-2, 102)
    axes.set_xlabel("policy tokens per problem, all candidates counted")
    axes.set_ylabel("problems solved (%)")
    axes.set_title(for_picture(title))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    save(figure, path, bbox_inches="tight")
