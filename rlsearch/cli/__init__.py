"""The command line: one file a command, which parses, calls and prints, and decides nothing.

`main.py` is the console script: it collects the commands, keeps config fields apart from their own
options and turns errors into one line and an exit code. `parser.py` has the arguments that commands
share, `output.py` the one way in which they print a result.

A command's file has `add_parser(subparsers)`, `run(arguments, overrides) -> int` and
`TAKES_FIELDS`, whether `--field.path value` is allowed. What is slow to import is imported in
`run`, so that help and usage errors come at once.
"""
