"""The comparison of runs as one HTML page: no script, nothing from elsewhere, all text escaped."""

import base64
from collections.abc import Sequence
from typing import Any

from rlsearch.text import for_page

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; color: #222;
  padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
caption { caption-side: top; text-align: left; color: #555; padding: .25rem 0 .6rem }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd }
td, caption, h1, p { overflow-wrap: anywhere }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100% } p { color: #555 }
"""

# What the accuracy of a benchmark is the share of, where it is no share of held-out problems.
SHARES = {
    "solved": "solved: the share of moves that keep the game-theoretic value",
    "training": "training: problems drawn as in training",
}

Row = dict[str, Any]


def report_page(
    fields: Sequence[str], rows: Sequence[Row], runs: Sequence[Row], image: bytes
) -> str:
    """The page of `report`, with the picture in it."""
    groups = ["group"] * bool(fields)
    several = any(row["training_seeds"] > 1 for row in rows)
    accuracies = _table(
        (*groups, "benchmark", "policy", "strategy", "verifier"),
        ("budget", "accuracy", "95% over problems")
        + ("range over trainings", "trainings") * several
        + ("problems", "tokens"),
        [_accuracy(row) for row in rows],
    )
    made = _table(("run", *groups), ("seed", "steps"), [{"run": r["run_dir"], **r} for r in runs])
    heading = f"{_count(len(runs), 'run')}{' compared' * (len(runs) > 1)}"
    benchmarks = dict.fromkeys(row["benchmark"] for row in rows)
    notes = [
        "The mean over trainings." if several else "",
        "The interval is over the problems, which all trainings and seeds share"
        + ("; the range is over trainings." if several else "."),
        "Tokens are those of policy and verifier, a problem, all candidates counted.",
        *(f"{SHARES[name]}." for name in benchmarks if name in SHARES),
    ]
    picture = base64.b64encode(image).decode()
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{heading}</title>"
        f"<style>{STYLE}</style><h1>{heading}</h1>{_difference(fields, runs)}"
        f'<img alt="accuracy against tokens, and the metrics of each stage of training" '
        f'src="data:image/png;base64,{picture}">'
        f"<h2>Accuracy</h2>{accuracies}"
        f"<p>{' '.join(filter(None, notes)) if rows else ''}</p><h2>Runs</h2>{made}</html>\n"
    )


def _difference(fields: Sequence[str], runs: Sequence[Row]) -> str:
    if len(runs) < 2:
        return ""
    seeds = len({run["seed"] for run in runs})
    differ = ", ".join(fields) or (
        "nothing but the seed" if seeds > 1 else "nothing, seed included"
    )
    return f"<p>They differ in {for_page(differ)}.</p>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _accuracy(row: Row) -> Row:
    """A row of accuracies as it is read, by the names of the columns."""
    low, high = (f"{100 * end:.0f}" for end in row["ci95"])
    lowest, highest = (f"{100 * row[end]:.1f}" for end in ("lowest", "highest"))
    if row["training_seeds"] == 1:
        spread = ""
    else:
        spread = f"{lowest} to {highest}%" if lowest != highest else f"{lowest}% in each"
    return {
        **{key: row[key] for key in ("group", "benchmark", "policy", "verifier", "budget")},
        "strategy": f"{row['strategy']}{' (oracle)' * bool(row['oracle'])}",
        "accuracy": f"{100 * row['accuracy']:.1f}%",
        "95% over problems": f"{low} to {high}%" if low != high else f"{low}%",
        "range over trainings": spread,
        "trainings": row["training_seeds"],
        "problems": row["problems"],
        "tokens": f"{row['policy_tokens'] + row['verifier_tokens']:.0f}",
    }


def _table(words: Sequence[str], numbers: Sequence[str], rows: Sequence[Row]) -> str:
    """A table; what is the same in every row stands once, above it."""
    if not rows:
        return "<p>None has been evaluated.</p>"
    same = [
        name
        for name in (*words, *numbers)
        if len(rows) > 1 and len({str(row[name]) for row in rows}) == 1
    ]
    shown = [(name, "") for name in words if name not in same]
    shown += [(name, ' class="number"') for name in numbers if name not in same]
    caption = "; ".join(f"{name}: {rows[0][name]}" for name in same)
    head = "".join(f"<th{kind}>{for_page(name)}</th>" for name, kind in shown)
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{for_page(row[name])}</td>" for name, kind in shown) + "</tr>"
        for row in rows
    )
    above = f"<caption>In every row {for_page(caption)}.</caption>" if same else ""
    return f"<table>{above}<tr>{head}</tr>{body}</table>"
