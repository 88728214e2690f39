"""Switches of JAX that a shell may have set, and under which nothing here would be right.

Programs here are written for 32-bit numbers, JAX's usual promotion and compilation. Under the
switches they, or the libraries below them, end in an error somewhere, or measure something else
than a run says. To turn one back in silence would do other than the user has asked for, so that it
is refused, before any work. Those under which all goes well, as JAX_DEBUG_NANS, are not listed.
"""

import os

# What each may be; JAX takes a few words for the truth values, in any case.
_OFF = ("0", "false", "off", "f", "n", "no")
ALLOWED = {
    "JAX_ENABLE_X64": _OFF,
    "JAX_NUMPY_DTYPE_PROMOTION": ("standard",),
    "JAX_NUMPY_RANK_PROMOTION": ("allow", "warn"),
    "JAX_LEGACY_PRNG_KEY": ("allow", "warn"),
    "JAX_DISABLE_JIT": _OFF,
    "JAX_CHECK_TRACER_LEAKS": _OFF,
    "JAX_NO_TRACING": _OFF,
    "JAX_TRANSFER_GUARD": ("allow", "log"),
}


def check_jax_switches() -> None:
    """Refuses what the environment asks of JAX, where nothing here can be done under it.

    Raises:
        ValueError: if so; it names the variable.
    """
    for name, allowed in ALLOWED.items():
        value = os.environ.get(name)
        if value and value.lower() not in allowed:
            raise ValueError(
                f"{name} is {value[:200]!r}, under which JAX does other than rlsearch is written "
                f"for: unset it, or set it to {allowed[0]}"
            )
