"""Returns of games that go on: lambda-returns over what each lane remembers.

    G_t = r_t + d_t ((1 - lambda) V_{t+1} + lambda G_{t+1})

with r_t to the player who moved at t, V_t the value that the search found at t to that player, and
d_t the discount, negative where the other player moves at t + 1 and 0 where the game ended. The
newest position of a lane has no successor yet: unless its game ended there, its return is its V.
So is that of a position behind which a game was broken off. A position whose game has come to its
end meanwhile thus has the outcome in its return, and one whose game is still open has the best
guess there is; both change as the lane grows, and no position is thrown away (Sutton and Barto
2018, section 12.8).
"""

import jax
import jax.numpy as jnp


def lambda_returns(
    rewards: jax.Array,
    discounts: jax.Array,
    values: jax.Array,
    last: jax.Array,
    ages: jax.Array,
    td_lambda: float,
) -> jax.Array:
    """`[B, C]` float32 returns.

    Args:
        rewards, discounts, values: `[B, C]` float32, r, d and V.
        last: `[B, C]` bool, nothing that follows belongs to this position's game.
        ages: `[B, C]` int32, positions of the lane that came after; below 0 where there is none.
    """
    # Chronological order is the ring's, turned: the newest position stands last.
    newest = jnp.argmin(jnp.where(ages < 0, ages.shape[1], ages)[0])
    turn = ages.shape[1] - 1 - newest

    def step(carry, inputs):
        later_return, later_value = carry
        reward, discount, value, last, age = inputs
        later = (1.0 - td_lambda) * later_value + td_lambda * later_return
        unknown = last | ((age == 0) & (discount != 0.0))
        result = jnp.where(unknown, value, reward + discount * later)
        return (result, value), result

    inputs = [jnp.roll(x, turn, axis=1).T for x in (rewards, discounts, values, last, ages)]
    nothing = jnp.zeros_like(rewards[:, 0])
    _, returns = jax.lax.scan(step, (nothing, nothing), tuple(inputs), reverse=True)
    return jnp.roll(returns.T, -turn, axis=1)
