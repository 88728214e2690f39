"""Parameters in safetensors files, the format in which models are shared.

A file that comes from elsewhere is data: nothing in it is executed or unpickled, and what it takes
of memory is bounded by what is expected of it.
"""

import hashlib
import re
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from rlsearch.files import read_bytes, read_json, size_of
from rlsearch.text import shortened

TENSORS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # where the tensors lie in several files, in which of them
MAX_HEADER = 16 * 2**20  # bytes of names, shapes and dtypes; 100,000 tensors take about that many

_WHAT = "a model's parameters"
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
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]{0,199}\.safetensors")
_HALVES = {"F16": "float16", "BF16": "bfloat16"}  # all of whose values a float32 has


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

    Where float32 is expected, float16 and bfloat16 will do.

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
    expected = _named(abstract)
    data = _read(path, expected)
    return _tree(abstract, _arrays(path, data, expected))


def read_model(folder: epath.PathLike, abstract: Any) -> tuple[Any, str]:
    """Reads the parameters of a folder as models are shared: one file, or several and an index.

    Args:
      folder: has `model.safetensors`, or else `model.safetensors.index.json` and what that names.
      abstract: see `read_tensors`.

    Returns:
      The pytree of numpy arrays, all of whose numbers are finite; and the SHA-256 of the files that
      it was read from, one after another in the order of their names.

    Raises:
      FileNotFoundError: there is no such file, or one that the index names is missing.
      ValueError: see `read_tensors`; also where the index is not as it must be, a tensor is in
        another file than it says, or in two, or where a number is NaN or infinite.
    """
    folder, expected = epath.Path(folder), _named(abstract)
    whole = folder / TENSORS
    if whole.exists() or not (folder / INDEX).exists():
        parts = {TENSORS: expected}
    else:
        parts = _parts(folder / INDEX, expected)
        for name in parts:  # before any of them is read
            _check_size(folder / name, parts[name])
    by = "config" if TENSORS in parts else "index"
    digest, found = hashlib.sha256(), {}
    for name, of in sorted(parts.items()):
        data = _read(folder / name, of)
        digest.update(data)
        found |= _arrays(folder / name, data, of, by)
    for name, array in found.items():
        if jax.numpy.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
            raise ValueError(
                f"{folder} has numbers in {shortened(name)} that are NaN or infinite: a model with "
                "them answers nothing"
            )
    return _tree(abstract, found), digest.hexdigest()


def weight_map(index: epath.Path) -> dict[str, str]:
    """Reads from an index in which file each tensor lies.

    Raises:
      ValueError: it is damaged, or names a file that is not one beside it.
    """
    said = read_json(index, MAX_HEADER, "an index of tensors")
    files = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(files, dict):
        raise ValueError(f"{index} is damaged: it must have a weight_map, the file of each tensor")
    for name, file in files.items():
        if not (isinstance(file, str) and PLAIN.fullmatch(file)):
            raise ValueError(
                f"{index} says {shortened(file)} of {shortened(name)}: it must be the plain name "
                "of a .safetensors file in the same folder"
            )
    return files


def _parts(index: epath.Path, expected: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Lists, by the name of each file that an index tells of, what is expected in it."""
    files = weight_map(index)
    _check_names(index, files, expected)
    parts: dict[str, dict[str, Any]] = {}
    for name, leaf in expected.items():
        parts.setdefault(files[name], {})[name] = leaf
    return parts


def _read(path: epath.PathLike, expected: dict[str, Any]) -> bytes:
    data = read_bytes(path, _check_size(path, expected), _WHAT)
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise ValueError(f"{path} is damaged: its header is longer than {MAX_HEADER} bytes")
    return data


def _check_size(path: epath.PathLike, expected: dict[str, Any]) -> int:
    """The most bytes that a file of these tensors has."""
    size, most = size_of(path, _WHAT), 8 + MAX_HEADER + sum(map(_num_bytes, expected.values()))
    if size > most:
        raise ValueError(
            f"{path} has {size} bytes: its model takes {most} at most, header included"
        )
    return most


def _arrays(
    path: epath.PathLike, data: bytes, expected: dict[str, Any], by: str = "config"
) -> dict[str, np.ndarray]:
    """The tensors of a file by name: all that are expected, and no other."""
    try:
        found = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged: {str(error)[:200]}") from error
    _check_names(path, found, expected, by)
    arrays = {}
    for name, leaf in expected.items():
        tensor, dtype = found.pop(name), jax.numpy.dtype(leaf.dtype)
        stored = _HALVES.get(tensor["dtype"]) if dtype == np.float32 else None
        wanted = tensor["dtype"] if stored else _DTYPES.get(dtype.name)
        if (tensor["dtype"], tuple(tensor["shape"])) != (wanted, leaf.shape):
            got = f"{tensor['dtype']} {shortened(list(tensor['shape']))}"
            must = f"{_DTYPES.get(dtype.name)} {list(leaf.shape)}"
            raise ValueError(f"{path} has {name!r} as {got}: by its config it must be {must}")
        array = np.frombuffer(tensor["data"], stored or dtype).reshape(leaf.shape)
        arrays[name] = array.astype(dtype) if stored else array
    return arrays


def _check_names(
    path: epath.PathLike, found: dict[str, Any], expected: dict[str, Any], by: str = "config"
) -> None:
    """Raises ValueError where there are other tensors than the config, or the index, says."""
    for name in expected:
        if name not in found:
            raise ValueError(f"{path} has no tensor {name!r}, which its {by} calls for")
    if others := found.keys() - expected.keys():
        other = shortened(min(others), 80)
        raise ValueError(f"{path} has a tensor {other} of which its {by} knows nothing")


def _tree(abstract: Any, arrays: dict[str, np.ndarray]) -> Any:
    return jax.tree.unflatten(
        jax.tree.structure(abstract), [arrays[name] for name in _named(abstract)]
    )


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by name, in the order in which JAX flattens the tree."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def _num_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return leaf.size * jax.numpy.dtype(leaf.dtype).itemsize
