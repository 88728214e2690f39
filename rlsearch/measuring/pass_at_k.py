"""The chance that one of k samples is right, from n samples."""

import numpy as np


def pass_at_k(num_samples: int, num_right: np.ndarray, k: int) -> np.ndarray:
    """Unbiased, for each problem: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021).

    Args:
        num_samples: n.
        num_right: `[...]` c, whole numbers from 0 to n.
        k: from 1 to n.

    Raises:
        ValueError: if k is not.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"k is {k}: it must be from 1 to the number of samples, {num_samples}")
    wrong = num_samples - np.asarray(num_right)
    # The product of (wrong - i) / (n - i) over the k draws; none is left where wrong < k.
    draws = np.arange(k)
    factors = np.maximum(wrong[..., None] - draws, 0) / (num_samples - draws)
    return 1.0 - factors.prod(axis=-1)
