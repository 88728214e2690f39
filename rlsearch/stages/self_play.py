"""Self-play: games against itself that go on from step to step, and learning from them."""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import (
    AN_ENVIRONMENT,
    Experiment,
    OptimizerConfig,
    SearchConfig,
    TowerConfig,
    check,
)
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.keys import folded
from rlsearch.networks.board_model import BoardModel
from rlsearch.networks.residual_tower import tower_flops
from rlsearch.objectives.positions import Positions, position_losses
from rlsearch.objectives.returns import lambda_returns
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.stage import Metrics, Stage, StageFlops, Weights
from rlsearch.search.moves import search_moves
from rlsearch.stages.games import Move, found_value, new_game, play
from rlsearch.stages.replay import Replay, add, ages, capacity_of, empty_replay, sample
from rlsearch.stages.replay_fields import Size

MOVES = SearchConfig(actions="moves", num_simulations=32, num_candidates=16, value_scale=0.5)


@dataclasses.dataclass(frozen=True)
class SelfPlay:
    """Plays, remembers, and learns from what is remembered (AlphaZero; Gumbel AlphaZero)."""

    name: str = "self_play"  # of the player that it ends with
    environment: AN_ENVIRONMENT = PgxGame()
    model: TowerConfig = TowerConfig()
    search: SearchConfig = MOVES  # while training
    play: SearchConfig = dataclasses.replace(MOVES, num_simulations=128, gumbel_scale=0.0)  # after
    num_steps: int = 100  # training steps
    num_games: int = 256  # B, games played at once
    moves_per_step: int = 8  # T, moves of every game in a step
    replay_moves: int = 64  # positions kept of each game's place; the newest ones
    updates_per_step: int = 2  # minibatches learnt from a step
    batch_size: int = 1024  # positions of a minibatch
    td_lambda: float = 1.0  # 1: outcomes; below, values of later searches come into the returns
    random_opening: int = 0  # games begin behind at most so many random moves
    temperature: float = 1.0  # of the draw from the improved policy
    temperature_moves: int = 1_000_000  # behind so many moves, the best is played
    resign_below: float = -1.0  # who is worth less gives up; -1: nobody does
    reanalysed: int = 0  # stored positions of each game's place searched anew in a step
    value_weight: float = 1.0  # of the value loss, against 1 of the policy's
    symmetries: bool = True  # whether positions are learnt from all sides
    optimizer: OptimizerConfig = OptimizerConfig()

    ends_with: ClassVar[str] = "player"
    start: ClassVar[str] = ""

    def __post_init__(self):
        for group in ("search", "play"):
            actions = getattr(self, group).actions
            if actions != "moves":
                raise ValueError(
                    f"SelfPlay.{group}.actions is {actions!r}: in a game it must be 'moves'"
                )
        for field in ("num_steps", "num_games", "moves_per_step", "updates_per_step", "batch_size"):
            check(getattr(self, field) >= 1, self, field, "at least 1")
        multiple = self.replay_moves >= 1 and self.replay_moves % self.moves_per_step == 0
        valid = f"a multiple of moves_per_step, {self.moves_per_step}"
        check(multiple, self, "replay_moves", valid)
        check(0 <= self.td_lambda <= 1, self, "td_lambda", "in [0, 1]")
        check(self.random_opening >= 0, self, "random_opening", "at least 0")
        check(self.temperature > 0, self, "temperature", "positive")
        check(self.temperature_moves >= 0, self, "temperature_moves", "at least 0")
        check(-1 <= self.resign_below < 1, self, "resign_below", "in [-1, 1)")
        check(self.reanalysed >= 0, self, "reanalysed", "at least 0")
        check(self.value_weight > 0, self, "value_weight", "positive")

    @functools.cached_property
    def network(self) -> BoardModel:
        """The shape of the network for the game."""
        shape, actions = self.environment.observation_shape, self.environment.num_actions
        return BoardModel(self.model, shape, actions)

    def build(self, lineage: Any) -> Stage:
        """Builds the stage; see `StageConfig`."""
        del lineage
        return self_play_stage(self)

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        return "", Size("num_games", "replay_moves", 0)

    def searches(self, lineage: Any) -> int:
        """Counts the trees of a training step."""
        del lineage
        return self.num_games * (self.moves_per_step + self.reanalysed)

    def flops(self, lineage: Any) -> StageFlops:
        """Counts the FLOPs of a training step."""
        shape, actions = self.environment.observation_shape, self.environment.num_actions
        one = tower_flops(self.model, shape, actions)
        return StageFlops(
            produce=one * self.searches(lineage) * (1 + self.search.num_simulations),
            update=3 * one * self.updates_per_step * self.batch_size,
        )


class Memory(NamedTuple):
    """The data that the lanes carry from step to step."""

    games: Any  # [B] states of the games in progress
    replay: Replay  # of `Move`
    returns: jax.Array  # [B, C] float32, of the moves in the replay


def playing_stage(config: Experiment) -> SelfPlay:
    """The stage of an experiment that plays.

    Raises:
        ValueError: if none does.
    """
    for stage in config.stages:
        if isinstance(stage, SelfPlay):
            return stage
    raise ValueError(f"config {config.name!r} has no stage of self-play")


def self_play_stage(settings: SelfPlay) -> Stage:
    """Builds the stage of some settings."""
    environment, model = settings.environment, settings.network

    def make_moves(params: Any, games: Any, keys: jax.Array):
        return play(params, games, keys, environment, model, settings)

    def begin(keys: jax.Array) -> Any:
        return jax.vmap(lambda key: new_game(environment, key, settings.random_opening))(keys)

    @functools.cache  # tracing a search takes seconds: once, however often the stage is started
    def move_shapes() -> Move:
        params = jax.eval_shape(model.init, jax.random.key(0))
        keys = jax.eval_shape(lambda key: row_keys(key, settings.num_games), jax.random.key(0))
        return jax.eval_shape(
            lambda params, keys: make_moves(params, begin(keys), keys)[1], params, keys
        )

    def memory(weights: Weights, keys: jax.Array) -> Memory:
        del weights
        games = begin(keys)
        replay = empty_replay(move_shapes(), settings.replay_moves)
        return Memory(games, replay, jnp.zeros((settings.num_games, settings.replay_moves)))

    def produce(
        weights: Weights, memory: Memory, keys: jax.Array, fed: None
    ) -> tuple[Memory, Metrics]:
        del fed
        params = weights.own
        games, moves, facts = make_moves(params, memory.games, keys)
        replay = add(memory.replay, moves)
        for number in range(settings.reanalysed):
            again_keys = folded(keys, settings.moves_per_step + number)
            replay = search_again(params, replay, again_keys)
        past = replay.rows
        returns = lambda_returns(
            past.reward, past.discount, past.value, past.truncated, ages(replay), settings.td_lambda
        )
        return Memory(games, replay, returns), facts

    def search_again(params: Any, replay: Replay, keys: jax.Array) -> Replay:
        """One random position of each lane gets the policy and value that a search finds now."""
        filled = jnp.minimum(replay.added, capacity_of(replay))
        place_keys, search_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
        place = jax.vmap(lambda key, n: jax.random.randint(key, (), 0, n))(place_keys, filled)
        lanes = jnp.arange(place.shape[0])
        states = jax.tree.map(lambda x: x[lanes, place], replay.rows.state)
        result = search_moves(params, search_keys, states, environment, model, settings.search)
        rows: Move = replay.rows
        rows = rows._replace(
            policy=rows.policy.at[lanes, place].set(result.improved_policy),
            value=rows.value.at[lanes, place].set(found_value(result)),
        )
        return replay._replace(rows=rows)

    def batch(memory: Memory, key: jax.Array, update: jax.Array) -> Positions:
        del update
        replay, past = memory.replay, memory.replay.rows
        everything = Positions(past.state, past.policy, memory.returns, ages(replay))
        return sample(replay._replace(rows=everything), key, settings.batch_size)

    def loss(weights: Weights, positions: Positions, keys: jax.Array) -> tuple[jax.Array, Metrics]:
        weight, symmetries = settings.value_weight, settings.symmetries
        return position_losses(model, environment, weights.own, positions, keys, weight, symmetries)

    return Stage(
        name=settings.name,
        model=model,
        start=None,
        num_steps=settings.num_steps,
        num_keys=settings.num_games,
        memory=memory,
        produce=produce,
        remember=lambda memory, produced, judged: produced,
        batch=batch,
        loss=loss,
        batch_size=settings.batch_size,
        updates_per_step=settings.updates_per_step,
        optimizer=settings.optimizer,
        flops_per_step=settings.flops(None),
    )
