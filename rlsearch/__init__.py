"""Search-augmented reinforcement learning in JAX: train, search, distil, measured on one axis.

Each folder is a room with one purpose, and its `__init__.py` says which. Imports run one way, from
the command line down: `cli`, `evaluation`, `training`, `inference`, `objectives`, `verifiers`,
`search`, `checkpoints`, `decoding`, `networks`, `environments`, `tasks`, `data`, `parallel`. Beside
them `config.py` holds the dataclasses that an experiment is made of, which every room may import,
and `config_file.py` reads and checks them from a Python file, the command line or a run's
`config.json`.

Importing the package imports nothing else, so that `rlsearch --help` comes at once.
"""

__version__ = "0.1.0"
