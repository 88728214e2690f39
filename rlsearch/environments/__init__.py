"""Decision processes as pure functions of one episode; callers `vmap`.

`base.py` is the contract. `pgx_game.py` brings the games of pgx to it, and `symmetries.py` knows
which turns and reflections leave the rules of a game as they are.
"""
