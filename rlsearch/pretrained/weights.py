"""A folder's safetensors files, read straight to where parameters lie.

Files are mapped into memory: each host reads the parts that its own devices hold, one parameter
after another, so that no more than one of them is in memory twice. The names, shapes and dtypes of
all tensors are checked before any is read.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from etils import epath
from jax.sharding import Mesh

from rlsearch.checkpoints.tensors import INDEX, MAX_HEADER, TENSORS, weight_map
from rlsearch.config import ShardingRules
from rlsearch.files import parse_json, size_of
from rlsearch.networks.by_name import joined, of_names
from rlsearch.networks.computed import in_dtype
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.networks.transformer import FLOAT32
from rlsearch.parallel.sharding import param_shardings
from rlsearch.pretrained.describe import COMPUTED, CONFIG, Described, describe
from rlsearch.pretrained.families import UNEMBEDDING
from rlsearch.pretrained.layout import Tensor, is_stacked, own_names, tensors_of
from rlsearch.text import shortened

DTYPES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": jnp.bfloat16.dtype}
# What old releases wrote beside the weights, and what tied weights have twice.
IGNORED = ("rotary_emb.inv_freq", UNEMBEDDING)


class Stored(NamedTuple):
    """A tensor in a file."""

    file: epath.Path
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int  # its first byte in the file

    def mapped(self) -> np.ndarray:
        """Returns the tensor where it lies; nothing is read yet."""
        size = math.prod(self.shape) * self.dtype.itemsize
        raw = np.memmap(self.file, np.uint8, "r", self.start, (size,))
        return raw.view(self.dtype).reshape(self.shape)


def load_model(
    folder: epath.PathLike,
    mesh: Mesh,
    rules: ShardingRules = ShardingRules(),
    param_dtype: str = "float32",
    **computed: Any,
) -> tuple[LanguageModel, Params]:
    """Reads a model and its parameters.

    Args:
        folder: on a local disk, with config.json and model.safetensors, or the several files that
            model.safetensors.index.json names.
        mesh, rules: where the parameters are to lie.
        param_dtype: "float32" or "bfloat16"; what is always computed in float32 is that here too.
        computed: see `describe`.

    Returns:
        The model, and its parameters; those of the value head are fresh, and it says 0.5, as those
        of adapters are, which add nothing yet.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not as it must be; the sentence names it, and the tensor.
    """
    described = describe(folder, **computed)
    model = LanguageModel(described.shape, described.vocab_size)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    places = param_shardings(model.logical_axes(), shapes, mesh, rules)
    return model, read_params(folder, model, places, param_dtype)


def read_params(
    folder: epath.PathLike, model: LanguageModel, places: Any, param_dtype: str = "float32"
) -> Params:
    """Reads the parameters alone of a folder, whose model must be `model`.

    Args:
        places: a sharding for each parameter.
        param_dtype: see `load_model`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: see `load_model`.
    """
    if param_dtype not in ("float32", "bfloat16"):
        raise ValueError(f"param_dtype is {param_dtype!r}: it must be 'float32' or 'bfloat16'")
    computed = {name: getattr(model.config, name) for name in COMPUTED}
    described = describe(folder, **computed)
    if LanguageModel(described.shape, described.vocab_size) != model:
        raise ValueError(f"{folder} is no longer what it was: its {CONFIG} describes another model")
    shapes = jax.eval_shape(
        lambda key: in_dtype(model.init(key), param_dtype, FLOAT32), jax.random.key(0)
    )
    wanted, stored = tensors_of(described), check_tensors(folder, described)

    names = own_names(described.shape)

    def read(path: Any, leaf: Any, sharding: Any) -> jax.Array | None:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if set(names) & set(name.split(".")):
            return None
        layers = wanted[name]

        def part(index: Any) -> np.ndarray:
            if not is_stacked(name, described.shape):
                return read_part(layers[0], stored, leaf.dtype, index)
            chosen = layers[index[0]]
            return np.stack([read_part(x, stored, leaf.dtype, index[1:]) for x in chosen])

        return jax.make_array_from_callback(leaf.shape, sharding, part)

    params = jax.tree_util.tree_map_with_path(read, shapes, places)
    fresh = jax.jit(
        lambda key: of_names(model.init(key), names), out_shardings=of_names(places, names)
    )
    return joined(fresh(jax.random.key(0)), params)


def check_tensors(folder: epath.PathLike, described: Described) -> dict[str, Stored]:
    """Finds a folder's tensors, each of the shape that is described.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: see `load_model`.
    """
    wanted = [x for layers in tensors_of(described).values() for x in layers]
    stored = stored_tensors(epath.Path(folder), [x.name for x in wanted])
    for x in wanted:
        check(stored[x.name], x)
    return stored


def read_part(wanted: Tensor, stored: dict[str, Stored], dtype: np.dtype, index: Any) -> np.ndarray:
    """Reads a part of a parameter.

    Raises:
        ValueError: a number in it is NaN or infinite.
    """
    source = stored[wanted.name]
    part = wanted.ours(source.mapped())[index]
    part = (part.astype(np.float32) + wanted.offset if wanted.offset else part).astype(dtype)
    if not np.isfinite(part).all():
        raise ValueError(
            f"{source.file} has numbers in {shortened(wanted.name)} that are NaN or infinite: a "
            "model with them answers nothing"
        )
    return np.ascontiguousarray(part)


def stored_tensors(folder: epath.Path, wanted: list[str]) -> dict[str, Stored]:
    """Finds the tensors of a folder by name: all that are wanted, and none that nobody knows.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or the folder has other tensors than its config calls for.
    """
    whole, index = folder / TENSORS, folder / INDEX
    files: dict[str, list[str]] = {TENSORS: []}
    if not whole.exists() and index.exists():
        files = {}
        for name, file in weight_map(index).items():
            files.setdefault(file, []).append(name)
    found: dict[str, Stored] = {}
    for file, expected in files.items():
        here = header(folder / file)
        for name in expected:
            if name not in here:
                raise ValueError(f"{folder / file} has no tensor {name!r}, which its index names")
        found |= here
    for name in wanted:
        if name not in found:
            raise ValueError(f"{folder} has no tensor {name!r}, which its {CONFIG} calls for")
    for name in found.keys() - set(wanted):
        if not name.endswith(IGNORED):
            raise ValueError(
                f"{folder} has a tensor {shortened(name)} of which its {CONFIG} knows nothing"
            )
    return found


def header(path: epath.Path) -> dict[str, Stored]:
    """Reads the names, shapes and places of the tensors of a file, and no tensor.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, truncated, or has a header that is too long.
    """
    size_of(path, "a model's parameters")
    try:
        with safetensors.safe_open(str(path), framework="np"):
            pass  # it checks that the header is well formed and fits the file
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged: {str(error)[:200]}") from error
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"{path} is damaged: its header is longer than {MAX_HEADER} bytes")
        said = parse_json(file.read(length))
    said.pop("__metadata__", None)
    found = {}
    for name, tensor in said.items():
        dtype = DTYPES.get(tensor["dtype"])
        if dtype is None and not name.endswith(IGNORED):
            raise ValueError(
                f"{path} has {shortened(name)} as {tensor['dtype']}: it must be {', '.join(DTYPES)}"
            )
        start = 8 + length + tensor["data_offsets"][0]
        found[name] = Stored(path, dtype or np.dtype(np.uint8), tuple(tensor["shape"]), start)
    return found


def check(stored: Stored, wanted: Tensor) -> None:
    """Raises ValueError where a tensor has another shape than its config says."""
    if stored.shape != wanted.shape:
        raise ValueError(
            f"{stored.file} has {wanted.name!r} as {shortened(list(stored.shape))}: by its "
            f"{CONFIG} it must be {list(wanted.shape)}"
        )
