"""`rlsearch import`: a run made of what `rlsearch export` wrote, or a folder of a GGUF file."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_code, add_data_dir, add_json

TAKES_FIELDS = False


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "import",
        help="make a run of an export, to be evaluated, or an open model's folder of a GGUF file; "
        "no code in them is run",
    )
    parser.add_argument("folder", metavar="DIR", help="what `rlsearch export` wrote, or FILE.gguf")
    parser.add_argument("run_dir", metavar="RUN", help="the run's directory, or folder, a new one")
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Imports, and prints what there is now."""
    del overrides
    if arguments.folder.endswith(".gguf"):
        from rlsearch.sharing.unpack import unpack_gguf

        result = unpack_gguf(arguments.folder, arguments.run_dir)
        what = f"{result['model_type']}, {result['parameters']:,} parameters"
        emit(arguments, result, f"unpacked: {result['folder']} ({what})")
        return 0
    from rlsearch.sharing.share import import_run

    result = import_run(
        arguments.folder,
        arguments.run_dir,
        data_dir=arguments.data_dir or "",
        code=arguments.code or "",
    )
    what = f"{result['stage']} at step {result['step']}, {result['parameters']:,} parameters"
    emit(arguments, result, f"imported: {result['run']} ({what})")
    return 0
