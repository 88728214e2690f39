"""The tensors of a folder's files, and the parameters that they are.

A weight of a projection lies in a file as `[out, in]`; where ours has heads as an axis of their
own, the file has heads and features in one.

Letters: D features, H heads, C features of a head, F hidden features.
"""

from typing import NamedTuple

import numpy as np

from rlsearch.config import TransformerConfig
from rlsearch.networks.adapter import ADAPTER
from rlsearch.pretrained.describe import Described
from rlsearch.pretrained.families import EMBEDDING, LAYER, NORM, UNEMBEDDING

VALUE_HEAD = "value_head"


class Tensor(NamedTuple):
    """A tensor of a file that a parameter, or one layer of it, is."""

    name: str
    split: tuple[int, ...]  # its shape in the file with heads and features apart
    shape: tuple[int, ...]  # its shape in the file
    order: tuple[int, ...]  # of the axes of `split` in ours
    offset: float = 0.0  # that ours has more

    def ours(self, stored: np.ndarray) -> np.ndarray:
        """Returns a view of what lies in a file in the shape of ours, without the offset."""
        return stored.reshape(self.split).transpose(self.order)

    def theirs(self, parameter: np.ndarray) -> np.ndarray:
        """Returns what lies in a file, of a parameter."""
        back = np.subtract(parameter, self.offset, dtype=np.float32) if self.offset else parameter
        return np.ascontiguousarray(back.transpose(np.argsort(self.order)).reshape(self.shape))


def tensors_of(described: Described) -> dict[str, tuple[Tensor, ...]]:
    """The tensors that each parameter is made of: one, or where layers are stacked one a layer."""
    family, shape, vocab = described.family, described.shape, described.vocab_size
    whole, width = (vocab, shape.embed_dim), (shape.embed_dim,)
    tensors: dict[str, tuple[Tensor, ...]] = {
        "embedding": (Tensor(EMBEDDING, whole, whole, (0, 1)),),
        "norm.scale": (Tensor(NORM, width, width, (0,), family.norm_offset),),
    }
    if not shape.tie_embeddings:
        tensors["unembedding"] = (Tensor(UNEMBEDDING, whole, whole, (0, 1)),)
    for ours, theirs in family.block_names().items():
        lies = lies_as(ours, shape)
        offset = family.norm_offset if ours.endswith("scale") else 0.0
        layers = tuple(
            Tensor(LAYER.format(number) + theirs, *lies, offset)
            for number in range(shape.num_layers)
        )
        if shape.scan_layers:
            tensors[f"blocks.{ours}"] = layers
        else:
            tensors |= {f"blocks.{number}.{ours}": (x,) for number, x in enumerate(layers)}
    return tensors


def own_names(shape: TransformerConfig) -> tuple[str, ...]:
    """Names in the paths of parameters that no file of others has."""
    return (VALUE_HEAD, ADAPTER) if shape.adapter.rank else (VALUE_HEAD,)


def is_stacked(name: str, shape: TransformerConfig) -> bool:
    """Tells whether the parameter of that name has layers as its first axis."""
    return shape.scan_layers and name.startswith("blocks.")


def lies_as(
    ours: str, shape: TransformerConfig
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The `split`, `shape` and `order` of the tensor of a block's parameter."""
    width, each, kind = shape.embed_dim, shape.head_dim, ours.rpartition(".")[2]
    heads = shape.num_heads if kind.startswith(("query", "out")) else shape.num_kv_heads
    if kind == "scale":
        one = (each,) if ours.startswith("attention.") else (width,)
        return one, one, (0,)
    if kind.endswith("_bias"):
        return (heads, each), (heads * each,), (0, 1)
    if kind == "out":  # [D, H C] to [H, C, D]
        return (width, heads, each), (width, heads * each), (1, 2, 0)
    if kind in ("query", "key", "value"):  # [H C, D] to [D, H, C]
        return (heads, each, width), (heads * each, width), (2, 0, 1)
    sides = (width, shape.mlp_dim) if kind == "down" else (shape.mlp_dim, width)
    return sides, sides, (1, 0)
