"""`rlsearch evaluate FOLDER --task NAME`: an open model as it came, on problems in words."""

import argparse
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from rlsearch.cli.output import emit_results, say
from rlsearch.cli.parser import positive, whole
from rlsearch.results import results_in, saving

TASKS = ("gsm8k", "questions")
TASK_HELP = (
    f"{' or '.join(TASKS)}, with files in --data-dir, or the name of a generator of reasoning-gym "
    "whose answers are numbers"
)
# Options of `evaluate` that ask for what an open model does not have yet.
OF_RUNS = (
    *("policies", "suite", "sequential", "against", "verifier"),
    *("aggregation", "oracle", "positions", "code"),
)
# Of those that are for open models, those that only slots, or only strategies, have a use for.
OF_SLOTS = ("samples", "slots")
OF_STRATEGIES = ("budgets", "min_p", "policy_weight", "max_steps", "max_step_tokens")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that are for open models alone."""
    group = parser.add_argument_group("an open model, where RUN is its folder")
    group.add_argument("--task", metavar="TASK", help=TASK_HELP)
    group.add_argument("--samples", type=whole, metavar="N", help="of each problem, by default 16")
    group.add_argument("--max-tokens", type=positive, metavar="N", help="of a text, by default 256")
    group.add_argument(
        "--max-steps", type=positive, metavar="N", help="lines of a strategy's text, by default 8"
    )
    group.add_argument(
        "--max-step-tokens", type=positive, metavar="N", help="of such a line, by default 48"
    )
    group.add_argument("--slots", type=positive, metavar="N", help="texts at once, by default 32")
    group.add_argument("--system", metavar="TEXT", help="said in front of all")
    group.add_argument("--instruction", metavar="TEXT", help="said behind a problem")


def given(arguments: argparse.Namespace) -> list[str]:
    """The options given that are for open models alone."""
    names = ("task", "samples", "max_tokens", "slots", "system", "instruction")
    names += ("max_steps", "max_step_tokens")
    return [name for name in names if getattr(arguments, name) is not None]


def run_open(arguments: argparse.Namespace) -> int:
    """Evaluates, and prints the table."""
    for name in OF_RUNS:
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            arguments.parser.error(f"{option} is for runs, and this is the folder of an open model")
    if not arguments.task:
        arguments.parser.error("an open model needs --task")
    other = OF_SLOTS if arguments.strategies else OF_STRATEGIES
    for name in other:
        if getattr(arguments, name) is not None:
            needed = "is of no use with" if arguments.strategies else "needs"
            arguments.parser.error(f"--{name.replace('_', '-')} {needed} --strategies")

    from rlsearch.config import ParallelConfig
    from rlsearch.measuring.open_accuracy import Asking
    from rlsearch.parallel.mesh import make_mesh
    from rlsearch.pretrained.opened import open_model
    from rlsearch.training.progress import Working

    said = {
        "samples": arguments.samples,
        "max_tokens": arguments.max_tokens,
        "slots": arguments.slots,
        "system": arguments.system,
        "instruction": arguments.instruction,
        "temperature": arguments.temperature,
        "seed": arguments.seeds[0] if arguments.seeds else None,
    }
    asking = Asking(**{name: value for name, value in said.items() if value is not None})
    if arguments.seeds and len(arguments.seeds) > 1:
        arguments.parser.error("--seeds takes one value for an open model")
    task = task_of(arguments.task, arguments.data_dir or "")
    problems = task.problems("train" if arguments.split == "training" else "test")
    problems = problems[: arguments.problems]
    opened = open_model(arguments.run_dir, make_mesh(ParallelConfig()))
    out = epath.Path(arguments.out or f"evaluations/{epath.Path(arguments.run_dir).name}")
    ask = by_strategies if arguments.strategies else by_slots
    with results_in(out, out) as saved, Working("evaluating", say) as working:
        table, rows = ask(arguments, opened, Asked(task, problems, asking, out), working.say)
    paths = [f"{name}: {table[name]}" for name in ("table", "texts", "picture") if name in table]
    text = "\n".join([*rows, f"asked as {table['prompt']!r}", *paths])
    return emit_results(arguments, table, text, saved)


class Asked(NamedTuple):
    """Problems of a task, the way they are asked, and the folder of what comes of it."""

    task: Any
    problems: Sequence[Any]
    asking: Any
    out: epath.Path


def by_slots(
    arguments: argparse.Namespace, opened: Any, asked: Asked, report: Any
) -> tuple[dict[str, Any], list[str]]:
    """Writes greedy texts and samples: the table, and its lines."""
    from rlsearch.measuring.open_accuracy import measure_open
    from rlsearch.runs.directory import write_json

    table, judged = measure_open(opened, asked.task, asked.problems, asked.asking, report)
    path, texts = (asked.out / f"{arguments.task}{end}" for end in (".json", "_texts.jsonl"))
    write_json(path, table)
    lines = (json.dumps(line_of(x)) + "\n" for x in judged)
    with saving(texts):
        texts.write_text("".join(lines))
    rows = [
        f"{row['strategy']:9} {row['budget']:3}  {share_of(row)}  "
        f"{row['tokens_per_text']:.0f} tokens, {100 * row['cut']:.0f}% cut, "
        f"{100 * row['without_answer']:.0f}% without an answer"
        for row in table["rows"]
    ]
    return table | {"table": str(path), "texts": str(texts)}, rows


def by_strategies(
    arguments: argparse.Namespace, opened: Any, asked: Asked, report: Any
) -> tuple[dict[str, Any], list[str]]:
    """Answers by test-time strategies: the table, and its lines."""
    from rlsearch.config import Lines
    from rlsearch.strategies.base import load_strategy
    from rlsearch.studies.worded import WordedAccuracy

    study: Any = WordedAccuracy(
        strategies=tuple(load_strategy(name) for name in arguments.strategies),
        asking=asked.asking,
        lines=Lines(**_given(arguments, ("max_steps", "max_step_tokens"))),
        **_given(arguments, ("budgets", "temperature", "min_p", "policy_weight")),
    )
    path = asked.out / f"{arguments.task}_strategies.json"
    table = study.measure(opened, asked.task, asked.problems, path, report)
    rows = [
        f"{row['strategy']:18} {row['budget']:3}  {share_of(row)}  "
        f"{row['policy_tokens']:.0f} tokens, {row['generations']:.1f} solutions"
        for row in table["rows"]
    ]
    return table, rows


def _given(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The options of these names that were given."""
    said = {name: getattr(arguments, name) for name in names}
    lists = {name: tuple(value) for name, value in said.items() if isinstance(value, list)}
    return {name: value for name, value in (said | lists).items() if value is not None}


def share_of(row: dict[str, Any]) -> str:
    """An accuracy with its interval."""
    low, high = row["ci95"]
    return f"{100 * row['accuracy']:5.1f}%  ({100 * low:.1f} to {100 * high:.1f})"


def line_of(judged: Any) -> dict[str, Any]:
    """A problem with its texts, as a line of a file."""
    return {
        "problem": judged.problem.text,
        "reference": judged.problem.reference,
        "texts": judged.texts,
        "answers": judged.answers,
        "right": judged.right,
    }


def task_of(name: str, data_dir: str) -> Any:
    """The task of a name."""
    from rlsearch.tasks.questions import GSM8K, Generated, Questions

    if name in TASKS:
        return {"gsm8k": GSM8K, "questions": Questions}[name](data_dir)
    return Generated(name)


def is_open_model(folder: str) -> bool:
    """Tells whether a folder is that of an open model: its config.json says a `model_type`."""
    path = epath.Path(folder) / "config.json"
    if not path.exists():
        return False
    from rlsearch.files import read_json

    said = read_json(path, 2**26, "a config")
    return isinstance(said, dict) and "model_type" in said
