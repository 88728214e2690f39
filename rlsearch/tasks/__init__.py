"""What a problem is: prompts, their split, an exact checker, and random traces to learn from.

`base.py` has the protocol that a task of your own follows. `game24.py` is the task Game of 24; its
language (words, grammar, the checkers on the host and on the device) is `number_steps.py`, which
does exact arithmetic with the tables of `rational.py`.
"""
