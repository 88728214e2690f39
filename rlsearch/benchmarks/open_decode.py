"""Tokens a second of an open model, beside those of `transformers` and of rows that are padded.

Same weights, same precision, same prompts, greedy, every text of one length, in turns within one
run: so what is printed is a ratio. Where lengths differ, the limit is that of a batch which goes on
until its longest text is written.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import ParallelConfig
from rlsearch.decoding.sampling import GREEDY
from rlsearch.decoding.slots import Requests, Slots, advance, empty_slots, read_prompts
from rlsearch.networks.flops import flops_per_token
from rlsearch.parallel.mesh import make_mesh
from rlsearch.pretrained.opened import OpenModel, open_model

BATCHES = (1, 16, 64)
PROMPT, WRITTEN = 32, 128  # tokens
SHORTEST = 0.1  # of the longest text, where lengths differ
SPREAD = 3  # requests for each slot, there
REPEATS = 3  # timings of each program; they alternate, and medians are compared


def bench_open_decode(
    folder: str, against: str = "", dtype: str = "float32", batches: Sequence[int] = BATCHES
) -> dict[str, Any]:
    """Measures a model's folder.

    Args:
        against: "transformers", or empty for none.
        dtype: of parameters and computation.
    """
    opened = open_model(folder, make_mesh(ParallelConfig()), param_dtype=dtype, dtype=dtype)
    peer = Peer(folder, dtype) if against else None
    rows = [row_of(opened, peer, batch) for batch in batches]
    return {
        "model": folder,
        "device": jax.devices()[0].device_kind,
        "dtype": dtype,
        "parameters": opened.model.num_params(),
        "flops_per_token": flops_per_token(opened.model, PROMPT + WRITTEN / 2),
        "batches": rows,
    }


def row_of(opened: OpenModel, peer: "Peer | None", batch: int) -> dict[str, Any]:
    """The figures of one size of a batch."""
    random = np.random.default_rng(0)
    prompts = random.integers(0, opened.tokenizer.vocab_size, (batch, PROMPT)).astype(np.int32)
    whole = np.full(batch, WRITTEN)

    def ours() -> np.ndarray:
        return texts(opened, prompts, np.arange(batch), whole, batch)

    programs: list[Callable[[], np.ndarray]] = [ours]
    if peer is not None:
        programs.append(lambda: peer.write(prompts))
    found, seconds = timed(*programs)
    row: dict[str, Any] = {"batch": batch, "tokens_per_second": batch * WRITTEN / seconds[0]}
    if peer is not None:
        row["over_transformers"] = seconds[1] / seconds[0]
        row["same_tokens"] = float((found[0] == found[1]).mean())
    if batch > 1:
        row["over_padded_rows"] = refilling(opened, prompts, random)
    return row


def refilling(opened: OpenModel, prompts: np.ndarray, random: np.random.Generator) -> float:
    """Texts whose lengths are spread one to ten, evenly in their logarithm: the time of batches
    that go on to their longest text over that of slots which are refilled."""
    batch = len(prompts)
    which = np.tile(np.arange(batch), SPREAD)
    shares = SHORTEST ** random.random(which.size)
    limits = np.maximum(1, np.round(shares * WRITTEN)).astype(np.int32)
    parts = np.arange(which.size).reshape(SPREAD, batch)

    def slots() -> np.ndarray:
        return texts(opened, prompts, which, limits, batch)

    def padded() -> np.ndarray:
        each = [texts(opened, prompts, which[part], limits[part], batch) for part in parts]
        return np.concatenate(each)

    _, (ours, theirs) = timed(slots, padded, repeats=1)
    return theirs / ours


def texts(
    opened: OpenModel, prompts: np.ndarray, which: np.ndarray, limits: np.ndarray, slots: int
) -> np.ndarray:
    """Writes a text for each of `which [R]` of the prompts: tokens `[R, T]`, whatever they are."""
    model, params, real = opened.model, opened.params, np.ones(prompts.shape, bool)
    keys = jax.random.split(jax.random.key(0), which.size)
    ends = jnp.zeros((opened.tokenizer.vocab_size,), bool)
    requests = Requests(jnp.asarray(which), keys, jnp.asarray(limits), ends)
    read = read_prompts(model, params, prompts, real)
    state: Slots = empty_slots(read, requests, slots, WRITTEN)
    return np.asarray(advance(model, params, state, read, requests, GREEDY).texts.tokens)


def timed(
    *programs: Callable[[], np.ndarray], repeats: int = REPEATS
) -> tuple[list[np.ndarray], list[float]]:
    """Runs programs in turns; returns what each gives, and its median of seconds."""
    found = [program() for program in programs]  # compiles
    seconds: list[list[float]] = [[] for _ in programs]
    for _ in range(repeats):
        for times, program in zip(seconds, programs, strict=True):
            began = time.perf_counter()
            program()
            times.append(time.perf_counter() - began)
    return found, [float(np.median(times)) for times in seconds]


class Peer:
    """The same folder in `transformers`."""

    def __init__(self, folder: str, dtype: str):
        try:
            import torch  # pyright: ignore[reportMissingImports]
            import transformers  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise RuntimeError(
                "--against transformers needs it and torch: pip install transformers torch"
            ) from error
        self.torch = torch
        kind = getattr(torch, dtype)
        # A folder may come from anybody: no code of its own, no pickle, and nothing from elsewhere.
        safe = {"trust_remote_code": False, "use_safetensors": True, "local_files_only": True}
        loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=kind, **safe)
        self.model = loaded.eval()
        self.model.generation_config.eos_token_id = None  # every text is of one length

    def write(self, prompts: np.ndarray) -> np.ndarray:
        """Writes behind `prompts [B, P]`: tokens `[B, T]`."""
        tokens = self.torch.tensor(prompts, dtype=self.torch.long)
        with self.torch.no_grad():
            found: Any = self.model.generate(  # pyright: ignore
                tokens,
                attention_mask=self.torch.ones_like(tokens),
                max_new_tokens=WRITTEN,
                do_sample=False,
            )
        return found[:, prompts.shape[1] :].numpy()
