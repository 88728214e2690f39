"""`rlsearch export`: the parameters of a run as a folder that can be shared."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_code, add_data_dir, add_json

TAKES_FIELDS = False


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "export", help="write a run's parameters as safetensors, with a model card"
    )
    parser.add_argument("run_dir", metavar="RUN", help="the run's directory")
    parser.add_argument("folder", metavar="DIR", help="the folder to make")
    parser.add_argument(
        "--stage", metavar="NAME", help="whose parameters; else distilled, or the last one's"
    )
    parser.add_argument(
        "--adapter", action="store_true", help="the adapter alone, as the library PEFT reads it"
    )
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Exports, and prints where to."""
    del overrides
    from rlsearch.sharing.share import export_run

    result = export_run(
        arguments.run_dir,
        arguments.folder,
        stage=arguments.stage or "",
        data_dir=arguments.data_dir or "",
        code=arguments.code or "",
        adapter=arguments.adapter,
    )
    what = f"{result['stage']} at step {result['step']}, {result['parameters']:,} parameters"
    emit(arguments, result, f"exported: {result['folder']} ({what})")
    return 0
