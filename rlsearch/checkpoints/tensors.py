"""Parameters as one safetensors file, the format in which models are shared.

A file that comes from elsewhere is data: nothing in it is executed or unpickled, and what it takes
of memory is bounded by what is expected of it.
"""

from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

MAX_HEADER = 16 * 2**20  # bytes of names, shapes and dtypes; 100,000 tensors take about that many

_DTYPES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
}


def write_tensors(path: epath.PathLike, tree: Any) -> None:
    """Writes a pytree of arrays; a leaf's name is its path, such as `blocks.0.attention.query`.

    Raises:
      ValueError: an array has a dtype that the format has not.
    """
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in _named(tree).items()}
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise ValueError(f"{name} is of {array.dtype}: it must be of {', '.join(_DTYPES)}")
    epath.Path(path).write_bytes(safetensors.numpy.save(arrays))


def read_tensors(path: epath.PathLike, abstract: Any) -> Any:
    """Reads what `write_tensors` wrote, bit by bit.

    Args:
      path: of the file.
      abstract: the pytree expected, with a `jax.ShapeDtypeStruct` for each array.

    Returns:
      The pytree of numpy arrays.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, too large, or lacks a tensor, has another, or one of another shape
        or dtype; the sentence names it.
    """
    path, expected = epath.Path(path), _named(abstract)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    size, most = path.stat().length, 8 + MAX_HEADER + sum(map(_num_bytes, expected.values()))
    if size > most:
        raise ValueError(
            f"{path} has {size} bytes: its model takes {most} at most, header included"
        )
    data = path.read_bytes()
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise ValueError(f"{path} is damaged: its header is longer than {MAX_HEADER} bytes")
    try:
        found = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    arrays = []
    for name, leaf in expected.items():
        if name not in found:
            raise ValueError(f"{path} has no tensor {name!r}, which its config calls for")
        tensor, dtype = found.pop(name), jax.numpy.dtype(leaf.dtype)
        if (tensor["dtype"], tuple(tensor["shape"])) != (_DTYPES.get(dtype.name), leaf.shape):
            got = f"{tensor['dtype']} {list(tensor['shape'])}"
            wanted = f"{_DTYPES.get(dtype.name)} {list(leaf.shape)}"
            raise ValueError(f"{path} has {name!r} as {got}: by its config it must be {wanted}")
        arrays.append(np.frombuffer(tensor["data"], dtype).reshape(leaf.shape))
    if found:
        raise ValueError(
            f"{path} has a tensor {min(found)[:80]!r} of which its config knows nothing"
        )
    return jax.tree.unflatten(jax.tree.structure(abstract), arrays)


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by name, in the order in which JAX flattens the tree."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def _num_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return leaf.size * jax.numpy.dtype(leaf.dtype).itemsize
