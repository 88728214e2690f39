"""The page that goes with shared parameters: what they are, how good, and how to use them.

Markdown below YAML, as the Hugging Face Hub reads it.
"""

import json
from collections.abc import Sequence
from typing import Any

from rlsearch.classes import class_name
from rlsearch.config import Experiment, Pretrained
from rlsearch.environments.base import game_name
from rlsearch.measuring.accuracy import summarise
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.parameters import warn
from rlsearch.runs.records import evaluations_in
from rlsearch.text import for_terminal

Row = dict[str, Any]

# What the accuracy of a benchmark is the share of.
_SHARES = {
    "held_out": "held-out problems solved",
    "test_time_compute": "held-out problems solved",
    "solved": "positions in which the move keeps the game-theoretic value",
}

ADAPTER_USE = (
    "# DIR is this folder; base_model_name_or_path of adapter_config.json says what it is for.",
    "model = peft.PeftModel.from_pretrained(open_model, DIR)",
)


def evaluations_of(directory: RunDirectory, stage: str, step: int) -> list[Row]:
    """Gathers what the run's evaluations say of one checkpoint: means over seeds, oracles left out.

    Raises:
        ValueError: if one of them is damaged.
    """
    benchmarks: dict[str, list[Row]] = {}
    for row in evaluations_in(directory.evaluations, warn):
        if row["policy"] == stage and row.get("checkpoint_step") == step and not row["oracle"]:
            benchmarks.setdefault(row["benchmark"], []).append(row)
    return [
        {"benchmark": name, **row} for name, rows in benchmarks.items() for row in summarise(rows)
    ]


def model_card(
    config: Experiment,
    stage: str,
    step: int,
    num_params: int,
    rows: Sequence[Row],
    adapter: bool = False,
) -> str:
    """The card of the parameters at the end of `stage`, or of their adapter alone."""
    language = config.task is not None
    played = next((x.environment for x in config.stages if x.ends_with == "player"), None)
    subject = type(config.task).__name__ if language else game_name(played)  # pyright: ignore
    cls = class_name(config.task if language else played)
    code = "" if cls.startswith("rlsearch.") else " --code FILE"
    author = [f"FILE is the author's Python file with `{_plain(cls)}`.", ""] if code else []
    opened = isinstance(config.model, Pretrained)
    described = "rlsearch.json" if opened else "config.json"
    head = "a policy" if opened else "a policy with a value head"
    head = "an adapter of a policy" if adapter else head
    lines = [
        *_front_matter(config, stage, subject, rows, adapter),
        f"# {_plain(config.name)}: {stage}",
        "",
        f"{head.capitalize()} for {_plain(subject)}, trained with `rlsearch`: the end of "
        f"stage `{stage}`, step {step}, seed {config.seed}; {num_params:,} parameters. "
        f"`{described}` has the whole experiment.",
        "",
        "## Use",
        "",
        "```python" if adapter else "```bash",
        *(ADAPTER_USE if adapter else _use(config, code)),
        "```",
        "",
        *author,
        "## Evaluation",
        "",
        *_table(rows),
    ]
    return "\n".join(lines)


def _use(config: Experiment, code: str) -> list[str]:
    if isinstance(config.model, Pretrained):
        return ["rlsearch chat DIR    # DIR is this folder"]
    language = config.task is not None
    use = 'rlsearch solve runs/imported "PROBLEM"' if language else "rlsearch play runs/imported"
    return [
        f"rlsearch import DIR runs/imported{code}    # DIR is this folder",
        f"rlsearch evaluate runs/imported{code}",
        f"{use}{code}",
    ]


def _front_matter(
    config: Experiment, stage: str, subject: str, rows: Sequence[Row], adapter: bool
) -> list[str]:
    opened, name = isinstance(config.model, Pretrained), config.name
    library = "transformers" if opened else "rlsearch"
    lines = [
        "---",
        f"library_name: {'peft' if adapter else library}",
        f"pipeline_tag: {'text-generation' if opened else 'reinforcement-learning'}",
        "tags:",
        *[f"- {tag}" for tag in ("rlsearch", "jax", "reinforcement-learning", "tree-search")],
    ]
    if rows:
        lines += ["model-index:", f"- name: {_quoted(f'{name}: {stage}')}", "  results:"]
    for row in rows:
        lines += [
            "  - task:",
            "      type: reinforcement-learning",
            "    dataset:",
            f"      name: {_quoted(f'{subject}, ' + row['benchmark'])}",
            f"      type: {_quoted(row['benchmark'])}",
            "    metrics:",
            "    - type: accuracy",
            f"      name: {_quoted(_how(row))}",
            f"      value: {row['accuracy']}",
        ]
    return [*lines, "---", ""]


def _how(row: Row) -> str:
    return f"accuracy, {row['strategy']}, {row['verifier']}, budget {row['budget']}"


def _table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["None yet.", ""]
    columns = (
        "benchmark",
        "strategy",
        "verifier",
        "budget",
        "accuracy",
        "95% interval",
        "problems",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        low, high = (f"{100 * end:.1f}" for end in row["ci95"])
        cells = [row["benchmark"], row["strategy"], row["verifier"], row["budget"]]
        cells += [f"{100 * row['accuracy']:.1f}%", f"{low} to {high}", row["problems"]]
        lines.append(f"| {' | '.join(_plain(str(cell)) for cell in cells)} |")
    names = dict.fromkeys(row["benchmark"] for row in rows)
    told = [f"`{name}` is the share of {_SHARES[name]}." for name in names if name in _SHARES]
    return [
        *lines,
        "",
        *told,
        "Means over evaluation seeds; Wilson's interval over the problems.",
        "",
    ]


def _quoted(text: str) -> str:
    """`text` as JSON has it, which YAML contains."""
    return json.dumps(for_terminal(text), ensure_ascii=False)


def _plain(text: str) -> str:
    """`text` without what Markdown or a table would read as its own."""
    return "".join("-" if char in "|`<>\n\r" else char for char in for_terminal(text))
