"""The comparison of runs as one HTML page: no script, nothing from elsewhere, all text escaped."""

import base64
import html
from collections.abc import Sequence
from typing import Any

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100% } p { color: #555 }
"""


def report_page(
    fields: Sequence[str],
    rows: Sequence[dict[str, Any]],
    runs: Sequence[dict[str, Any]],
    image: bytes,
) -> str:
    """The page of `report`, with the picture in it."""
    differ = ", ".join(fields) if fields else "nothing but the seed"
    accuracies = _table(
        ("group", "benchmark", "policy", "strategy", "verifier"),
        ("budget", "accuracy", "95% over problems", "range over trainings", "trainings", "tokens"),
        [
            (
                [row[k] for k in ("group", "benchmark", "policy", "strategy", "verifier")],
                [
                    row["budget"],
                    f"{100 * row['accuracy']:.1f}%",
                    f"{100 * row['ci95'][0]:.0f} to {100 * row['ci95'][1]:.0f}%",
                    f"{100 * row['lowest']:.1f} to {100 * row['highest']:.1f}%",
                    row["training_seeds"],
                    f"{row['policy_tokens'] + row['verifier_tokens']:.0f}",
                ],
            )
            for row in rows
        ],
    )
    made = _table(
        ("run", "group"),
        ("seed", "steps"),
        [([run["run_dir"], run["group"]], [run["seed"], run["steps"]]) for run in runs],
    )
    picture = base64.b64encode(image).decode()
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>runs compared</title>"
        f"<style>{STYLE}</style><h1>{len(runs)} runs compared</h1>"
        f"<p>They differ in {_escape(differ)}.</p>"
        f'<img alt="accuracy against tokens, and the training\'s metrics" '
        f'src="data:image/png;base64,{picture}">'
        f"<h2>Accuracy on held-out problems</h2>{accuracies}"
        "<p>The mean over trainings. The interval is over the problems, which all trainings and "
        "seeds share; the range is over trainings. Tokens are those of policy and verifier, a "
        f"problem, all candidates counted.</p><h2>Runs</h2>{made}</html>\n"
    )


def _table(
    words: Sequence[str], numbers: Sequence[str], rows: Sequence[tuple[list[Any], list[Any]]]
) -> str:
    if not rows:
        return "<p>None has been evaluated.</p>"
    head = _cells("th", words, numbers)
    body = "".join(f"<tr>{_cells('td', *row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cells(tag: str, words: Sequence[Any], numbers: Sequence[Any]) -> str:
    plain = "".join(f"<{tag}>{_escape(word)}</{tag}>" for word in words)
    return plain + "".join(f'<{tag} class="number">{_escape(x)}</{tag}>' for x in numbers)


def _escape(value: Any) -> str:
    return html.escape(str(value))
