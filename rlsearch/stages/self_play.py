"""The one stage of a run of self-play."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SelfPlayExperiment
from rlsearch.environments.base import Environment
from rlsearch.networks.board_model import BoardModel
from rlsearch.networks.residual_tower import tower_flops
from rlsearch.objectives.positions import Positions, position_losses
from rlsearch.objectives.returns import lambda_returns
from rlsearch.objectives.self_play import Move, found_value, new_game, play
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.stage import Metrics, Params, Stage, StageFlops
from rlsearch.search.moves import search_moves
from rlsearch.training.replay import Replay, add, ages, capacity_of, empty_replay, sample


class Memory(NamedTuple):
    """What the lanes carry from step to step."""

    games: Any  # [B] states of the games in progress
    replay: Replay  # of `Move`
    returns: jax.Array  # [B, C] float32, of the moves in the replay


def self_play_stage(
    config: SelfPlayExperiment, environment: Environment, model: BoardModel
) -> Stage:
    """Plays, remembers, and learns from what is remembered.

    Raises:
        ValueError: if parts of the config do not fit together.
    """
    for group in ("search", "play"):
        actions = getattr(config, group).actions
        if actions != "moves":
            raise ValueError(f"{group}.actions is {actions!r}: in a game it must be 'moves'")
    settings = config.self_play

    def make_moves(params: Params, games: Any, keys: jax.Array):
        return play(params, games, keys, environment, model, config.search, settings)

    def begin(keys: jax.Array) -> Any:
        return jax.vmap(lambda key: new_game(environment, key, settings.random_opening))(keys)

    @functools.cache  # tracing a search takes seconds: once, however often the stage is started
    def move_shapes() -> Move:
        params = jax.eval_shape(model.init, jax.random.key(0))
        keys = jax.eval_shape(lambda key: row_keys(key, settings.num_games), jax.random.key(0))
        return jax.eval_shape(
            lambda params, keys: make_moves(params, begin(keys), keys)[1], params, keys
        )

    def memory(params: Params, keys: jax.Array) -> Memory:
        del params
        games = begin(keys)
        replay = empty_replay(move_shapes(), settings.replay_moves)
        return Memory(games, replay, jnp.zeros((settings.num_games, settings.replay_moves)))

    def collect(params: Params, memory: Memory, keys: jax.Array) -> tuple[Memory, Metrics]:
        games, moves, facts = make_moves(params, memory.games, keys)
        replay = add(memory.replay, moves)
        for number in range(settings.reanalysed):
            again_keys = jax.vmap(jax.random.fold_in, (0, None))(
                keys, settings.moves_per_step + number
            )
            replay = search_again(params, replay, again_keys)
        past = replay.rows
        returns = lambda_returns(
            past.reward, past.discount, past.value, past.truncated, ages(replay), settings.td_lambda
        )
        return Memory(games, replay, returns), facts

    def search_again(params: Params, replay: Replay, keys: jax.Array) -> Replay:
        """One random position of each lane gets the policy and value that a search finds now."""
        filled = jnp.minimum(replay.added, capacity_of(replay))
        place_keys, search_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
        place = jax.vmap(lambda key, n: jax.random.randint(key, (), 0, n))(place_keys, filled)
        lanes = jnp.arange(place.shape[0])
        states = jax.tree.map(lambda x: x[lanes, place], replay.rows.state)
        result = search_moves(params, search_keys, states, environment, model, config.search)
        rows: Move = replay.rows
        rows = rows._replace(
            policy=rows.policy.at[lanes, place].set(result.improved_policy),
            value=rows.value.at[lanes, place].set(found_value(result)),
        )
        return replay._replace(rows=rows)

    def batch(memory: Memory, key: jax.Array) -> Positions:
        replay, past = memory.replay, memory.replay.rows
        everything = Positions(past.state, past.policy, memory.returns, ages(replay))
        return sample(replay._replace(rows=everything), key, settings.batch_size)

    def loss(params: Params, positions: Positions, keys: jax.Array) -> tuple[jax.Array, Metrics]:
        weight, symmetries = settings.value_weight, settings.symmetries
        return position_losses(model, environment, params, positions, keys, weight, symmetries)

    one = tower_flops(config.model, environment.observation_shape, environment.num_actions)
    searched = settings.num_games * (settings.moves_per_step + settings.reanalysed)
    return Stage(
        name="self_play",
        model=model,
        start=None,
        num_steps=settings.num_steps,
        num_keys=settings.num_games,
        memory=memory,
        collect=collect,
        batch=batch,
        loss=loss,
        batch_size=settings.batch_size,
        updates_per_step=settings.updates_per_step,
        optimizer=settings.optimizer,
        flops_per_step=StageFlops(
            produce=one * searched * (1 + config.search.num_simulations),
            update=3 * one * settings.updates_per_step * settings.batch_size,
        ),
    )
