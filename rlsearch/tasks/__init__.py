"""Problems: prompts, their split, an exact checker, and random traces to learn from.

`base.py` has the protocol that a task of your own follows. `game24.py` and `countdown.py` are tasks
about numbers, and `number_task.py` is what they share; their language (words, grammar, the checkers
on the host and on the device) is `number_steps.py`, which does exact arithmetic with the tables of
`rational.py`. `solver.py` says which problems have a solution.
"""
