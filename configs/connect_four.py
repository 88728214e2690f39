"""Connect four by self-play.

    rlsearch train connect_four
    rlsearch evaluate runs/connect_four --positions FILE --budgets 128

On 1,200 solved positions of 8 to 30 plies (random play: 35% of moves keep the game-theoretic
value), training seed 0, 79 minutes on one CPU core while the other was busy, 2026-11-23:

                      keeps the value    where some legal move fails (701 positions)
    policy alone      91.8%              85.9%
    128 simulations   97.0%              94.9%  (with play.value_scale 0.5)

Within the hour, `--self_play.num_steps 1250`: 59:55 minutes from start to end on one core of an
older machine (AMD EPYC, 2.45 GHz, without AVX-512) while the other was busy, training seed 0,
2026-11-25:

    policy alone      89.0%              81.2%
    128 simulations   95.1%              91.6%

With play.value_scale 0.5 it was 94.8% (91.0%). The settings of `play` were then chosen by an arena
of four at 128 simulations, and not by solved positions: value_scale 0.2, 0.5 and 1.5, and PUCT have
1350, 1342, 1316 and 1296 Elo, which is no more than chance may do. On one core a step takes
2.71 s there: 62% searching, 41% learning, and less of the host than can be measured (-3%); 52% of
the core's peak (`rlsearch bench train connect_four`). For several chips it is planned, and not run,
by `rlsearch plan connect_four --topology v5e-16`.

Elo of the longer run in a tournament with plain MCTS, random play being 0 (2026-11-23):

    rlsearch arena runs/connect_four --simulations 0 1 4 16 64 256 --rollouts 16 64 --games 48

    simulations       none  1     4     16    64    256      plain MCTS, 16 and 64
    Elo               1093  1117  1122  1238  1338  1426     401, 673

Against the loop of pgx's AlphaZero example, written out anew, with this network, simulations, games
at once and minibatch, on one CPU core (the other one was busy; 2026-11-23):
1.06 times its useful positions a second (`rlsearch bench self_play connect_four`); the best that it
reaches in 15 minutes, 73.8%, is reached here in 95 seconds, a ratio of 0.105
(`rlsearch bench strength connect_four --positions FILE`). One reading of each.
"""

from rlsearch.config import Experiment, LogConfig, OptimizerConfig, SearchConfig, TowerConfig
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.stages.self_play import SelfPlay

config = Experiment(
    name="connect_four",
    stages=(
        SelfPlay(
            environment=PgxGame(game="connect_four"),
            model=TowerConfig(num_blocks=4, channels=32),
            search=SearchConfig(
                actions="moves", num_simulations=24, num_candidates=7, value_scale=0.5
            ),
            play=SearchConfig(
                actions="moves",
                num_simulations=128,
                num_candidates=7,
                value_scale=0.2,
                gumbel_scale=0.0,
            ),
            num_steps=4400,
            num_games=64,
            moves_per_step=8,
            replay_moves=2048,
            updates_per_step=8,
            batch_size=256,
            td_lambda=0.95,
            random_opening=12,
            optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=500),
        ),
    ),
    log=LogConfig(keep_every_steps=500),  # `arena --checkpoints all`: Elo against training time
)
