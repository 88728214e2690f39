"""Ratings by maximum likelihood from the points that players made against each other.

Player i makes a point against player j with probability sigma(theta_i - theta_j), where
sigma(x) = 1 / (1 + exp(-x)) (Bradley and Terry 1952; Elo 1978); a draw is half a point. With s_ij
the points of i against j, the ratings maximise

    sum_ij s_ij log sigma(theta_i - theta_j)
        + VIRTUAL_GAMES / 2 * sum_i [log sigma(theta_i) + log sigma(-theta_i)]

The second sum is half a game that every player is taken to have drawn against an average opponent,
whose rating is 0: it keeps the rating of a player who won, or lost, everything finite, and it has
one maximum only. Elo is 400 / ln 10 times theta, shifted.

Intervals are of resampled games. Games that all ended alike have nothing to resample, and yet say
no more than any other sample: so each resampled pairing gets one more pair of games, in which the
first player makes a share of the points as the ratings expect. It moves no rating to either side,
and where all is drawn its own chance is the width of the interval.

Letters: N players, P pairs of games, R bootstrap samples.
"""

import itertools
from typing import NamedTuple

import numpy as np

VIRTUAL_GAMES = 0.5  # drawn by each player against an average opponent
SCALE = 400.0 / np.log(10.0)  # Elo of one unit of theta: ten to one is 400
SAMPLES = 1000  # of the bootstrap
_MAX_ITERATIONS = 200
_TOLERANCE = 1e-9  # of theta


class Ratings(NamedTuple):
    """Ratings of N players, and R more of each from resampled games."""

    theta: np.ndarray  # [N]
    samples: np.ndarray  # [R, N], the same from resampled games

    def elo(self, anchor: int) -> np.ndarray:
        """`[N]` Elo, where `anchor` has 0."""
        return SCALE * (self.theta - self.theta[anchor])

    def interval(self, anchor: int) -> np.ndarray:
        """`[N, 2]` the 95% interval of Elo above `anchor`, whose own is 0 by definition."""
        return _interval(SCALE * (self.samples - self.samples[:, anchor, None]))

    def from_mean(self, anchor: int) -> np.ndarray:
        """`[N, 2]` the 95% interval of Elo above the mean of all players, on the scale of `elo`.

        An anchor that loses nearly every game is itself not well known, which makes all intervals
        above it wide; in the mean of all it has little part.
        """
        above = self.samples - self.samples.mean(axis=1, keepdims=True)
        return _interval(SCALE * (above + self.theta.mean() - self.theta[anchor]))


def rate(points: np.ndarray, seed: int, samples: int = SAMPLES) -> Ratings:
    """Rates N players of a tournament.

    The bootstrap resamples the pairs of games of each pairing, not the games: two that began with
    the same opening are not independent. The virtual games get random weights too, from the
    exponential distribution (Newton and Raftery 1994), without which the interval of a player who
    won everything would have no width. The expected pair has points e and 1 - e from the gamma
    distributions of these shapes, as posterior samples of a Dirichlet prior of weight 1 have them.

    Args:
        points: `[N, N, P]`, what the first player made against the second in each pair of games;
            0 on the diagonal. All pairs of all pairings are independent.
        seed: of the bootstrap.

    Raises:
        ValueError: if `points` has another shape, or no pair.
    """
    if points.ndim != 3 or points.shape[0] != points.shape[1] or points.shape[2] == 0:
        raise ValueError(f"points has shape {points.shape}: it must be [N, N, P], P at least 1")
    players, _, pairs = points.shape
    generator = np.random.default_rng(seed)
    theta = maximise(points.sum(axis=2)[None], np.full((1, players), VIRTUAL_GAMES))[0]
    expected = _sigma(theta[:, None] - theta)
    resampled = np.zeros((samples, players, players))
    for i, j in itertools.combinations(range(players), 2):
        times = generator.multinomial(pairs, np.full(pairs, 1.0 / pairs), size=samples)
        of_pair = (points[i, j] + points[j, i]).mean()
        for one, other in ((i, j), (j, i)):
            more = of_pair * generator.gamma(expected[one, other], size=samples)
            resampled[:, one, other] = times @ points[one, other] + more
    virtual = VIRTUAL_GAMES * generator.exponential(size=(samples, players))
    return Ratings(theta, maximise(resampled, virtual))


def maximise(points: np.ndarray, virtual_games: np.ndarray) -> np.ndarray:
    """The theta `[R, N]` of R tournaments: see the equation above.

    Newton's method with the step damped by log(1 + d) / d, where d is the largest change of a
    difference: it rises at every step, from anywhere (Sun and Tran-Dinh 2019, theorem 2).

    Args:
        points: `[R, N, N]`, of the row's player against the column's.
        virtual_games: `[R, N]`, positive.
    """
    games = points + points.swapaxes(1, 2)
    theta = np.zeros(virtual_games.shape)
    diagonal = np.eye(virtual_games.shape[1])
    for _ in range(_MAX_ITERATIONS):
        expected = _sigma(theta[:, :, None] - theta[:, None, :])
        level = _sigma(theta)
        gradient = (points - games * expected).sum(axis=2) + virtual_games * (0.5 - level)
        curvature = games * expected * (1.0 - expected)
        own = curvature.sum(axis=2) + virtual_games * level * (1.0 - level)
        step = np.linalg.solve(diagonal * own[:, :, None] - curvature, gradient[..., None])[..., 0]
        # The average opponent takes part in the differences, and never changes.
        change = np.maximum(step.max(axis=1), 0.0) - np.minimum(step.min(axis=1), 0.0)
        change = np.maximum(change, 1e-12)
        theta = theta + step * (np.log1p(change) / change)[:, None]
        if change.max() < _TOLERANCE:
            break
    return theta


def _sigma(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # which never overflows


def _interval(samples: np.ndarray) -> np.ndarray:
    return np.percentile(samples, [2.5, 97.5], axis=0).T
