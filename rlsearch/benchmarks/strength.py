"""Wall time to a strength, measured against the loop of the example that ships with pgx.

Strength is the share of solved positions in which the policy alone keeps the game-theoretic value.
The two loops take turns on the same devices, the one with less time spent going next, so that
other load on the machine meets both alike; compiling counts, measuring does not. The example gets
our network with the value it has there (a tanh, squared error), our simulations, games at once
and minibatch.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from etils import epath

from rlsearch.arena.perfect_play import choose_moves, make_chooser
from rlsearch.arena.solved_positions import read_solved_positions, solve_game
from rlsearch.benchmarks.example_loop import example_game, example_learning, example_self_play
from rlsearch.config import Experiment
from rlsearch.figure import save, subplots
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.stage import Weights
from rlsearch.stages.self_play import SelfPlay, playing_stage
from rlsearch.text import for_picture
from rlsearch.training.state import init_state, run_key, stage_optimizer
from rlsearch.training.step import make_step


class Trained(NamedTuple):
    """The work of a loop so far."""

    model: BoardModel
    params: Params


Curve = list[tuple[float, float]]  # seconds spent, strength


def bench_strength(
    config: Experiment,
    minutes: float = 15.0,
    positions: str = "",
    picture: str = "",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The example's best strength within `minutes`, and the time in which ours reaches it.

    Args:
        minutes: what each loop may spend.
        positions: a file of solved positions (see `read_solved_positions`); empty where the game
            is small enough to be solved here.
        picture: a PNG to draw the curves in; empty for none.
        report: is told one line after each turn.

    Raises:
        ValueError: if the game is not one of pgx for two players, or too large to be solved.
    """
    settings = playing_stage(config)
    environment = settings.environment
    game = example_game(environment)
    solved = (
        read_solved_positions(positions, environment)
        if positions
        else solve_game(environment).positions
    )
    chooser = functools.cache(lambda model: make_chooser(environment, model, None))

    def strength(trained: Trained) -> float:
        moves = choose_moves(chooser(trained.model), trained.params, solved.states, 0)
        return float(solved.keeps_value(moves).mean())

    curves = race(
        {"example": _example(config, settings, game), "rlsearch": _ours(config, settings)},
        strength,
        60.0 * minutes,
        report,
    )
    if picture:
        draw(curves, epath.Path(picture), f"{config.name}: {len(solved.states.player)} positions")
    goal = max(found for _, found in curves["example"])
    reached = [seconds for seconds, found in curves["rlsearch"] if found >= goal]
    return {
        "config": config.name,
        "device": jax.devices()[0].device_kind,
        "positions": len(solved.states.player),
        "minutes": minutes,
        "example_strength": goal,
        "strength": max(found for _, found in curves["rlsearch"]),
        "seconds_to_example_strength": reached[0] if reached else None,
        "time_ratio": reached[0] / (60.0 * minutes) if reached else None,
        "curves": curves,
    }


def race(
    loops: dict[str, Iterator[Trained]],
    strength: Callable[[Trained], float],
    seconds: float,
    report: Callable[[str], None],
) -> dict[str, Curve]:
    """Trains both loops until all have spent `seconds`; returns what each has reached, and when.

    The first loop sets the pace: the others catch up with it before they are measured again.
    """
    clocks = dict.fromkeys(loops, 0.0)
    curves: dict[str, Curve] = {name: [] for name in loops}
    pace = next(iter(loops))
    while clocks[pace] < seconds:
        for name, loop in loops.items():
            until, trained = clocks[pace], None
            while trained is None or clocks[name] < until:
                began = time.perf_counter()
                trained = next(loop)
                jax.block_until_ready(trained.params)
                clocks[name] += time.perf_counter() - began
            curves[name].append((clocks[name], strength(trained)))
            report(f"{name:10} {clocks[name]:7.0f} s  {100 * curves[name][-1][1]:5.1f}%")
    return curves


def _ours(config: Experiment, settings: SelfPlay) -> Iterator[Trained]:
    """After each training step."""
    stage, model, mesh = settings.build(None), settings.network, make_mesh(config.parallel)
    optimizer = stage_optimizer(stage)
    step = make_step(stage, optimizer, mesh)
    params = jax.jit(model.init)(run_key(config.seed, "parameters", 0))
    memory_key = run_key(config.seed, "memory", 0)
    state = jax.jit(lambda params, key: init_state(Weights(params), optimizer, stage, key))(
        params, memory_key
    )
    for number in itertools.count():
        state, _ = step(state, run_key(config.seed, "training", number))
        yield Trained(model, state.params)


def _example(config: Experiment, settings: SelfPlay, game: Any) -> Iterator[Trained]:
    """After each iteration."""
    shape, actions = settings.environment.observation_shape, settings.environment.num_actions
    model = BoardModel(dataclasses.replace(settings.model, value="bounded"), shape, actions)
    play = example_self_play(game, model, settings.search.num_simulations, settings.num_games)
    start, learn = example_learning(model, settings.batch_size)
    learner = start(jax.jit(model.init)(run_key(config.seed, "parameters", 0)))
    for number in itertools.count():
        play_key, learn_key = jax.random.split(run_key(config.seed, "training", number))
        learner = learn(learner, play(learner.params, play_key), learn_key)
        yield Trained(model, learner.params)


def draw(curves: dict[str, Curve], path: epath.Path, title: str) -> None:
    """Writes a PNG of what each loop has reached, against the time that it has spent."""
    figure, axes = subplots(figsize=(7.0, 4.5), dpi=150, layout="constrained")
    for name, curve in curves.items():
        seconds, found = zip(*curve, strict=True)
        minutes, shares = [s / 60.0 for s in seconds], [100.0 * share for share in found]
        axes.plot(minutes, shares, marker="o", markersize=3, label=for_picture(name))
    axes.set(xlabel="minutes spent", ylabel="moves of the policy that keep the value, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.suptitle(for_picture(title))
    save(figure, path)
