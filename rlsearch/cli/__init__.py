"""The command line: one file a command, which parses, calls and prints, and decides nothing.

A command's file has `add_parser(subparsers)`, `run(arguments, overrides) -> int` and
`TAKES_FIELDS`, whether `--field.path value` is allowed. What is slow to import is imported in
`run`, so that help and usage errors come at once.
"""
