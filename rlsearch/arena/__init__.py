"""Games: players held against each other, against perfect play, and against a person.

`tournament.py` rates players (`players.py`) against each other by `elo.py`, with its picture;
`perfect_play.py` holds a run against solved positions (`solved_positions.py`), `returns.py`
measures games for one player, `play.py` lets a person play on the text of `notation.py`, and
`opening.py` opens a run of self-play.
"""
