"""The optimiser of a stage."""

import optax

from rlsearch.config import OptimizerConfig


def make_optimizer(config: OptimizerConfig, num_updates: int) -> optax.GradientTransformation:
    """AdamW with clipping, warm-up and cosine decay over `num_updates`."""
    peak = config.learning_rate
    warmup = min(config.warmup_steps, max(num_updates - 1, 0))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, peak, warmup, max(num_updates, 1), peak * config.final_fraction
    )
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adamw(schedule, b2=config.beta2, weight_decay=config.weight_decay),
    )
