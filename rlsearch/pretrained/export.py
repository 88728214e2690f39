"""A model written as its family's folders are, for whoever reads those: `transformers` and others.

The value head has no place in such a folder, and is left out. Rotary settings are written as by the
releases of `transformers` before 5, which the later ones read too.
"""

import json
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from etils import epath

from rlsearch.checkpoints.tensors import INDEX, TENSORS
from rlsearch.config import RopeScaling
from rlsearch.files import read_text
from rlsearch.networks.language_model import Params
from rlsearch.networks.transformer import is_local
from rlsearch.pretrained.describe import ACTIVATIONS, CONFIG, GLOBAL, LOCAL, Described
from rlsearch.pretrained.layout import is_stacked, tensors_of
from rlsearch.pretrained.tokenizer import (
    GENERATION,
    MAX_TOKENIZER,
    SETTINGS,
    TEMPLATE,
    TOKENIZER,
)

LARGEST = 4 * 2**30  # bytes of a file


def write_model(
    folder: epath.PathLike,
    described: Described,
    params: Params,
    dtype: str = "float32",
    largest: int = LARGEST,
) -> None:
    """Writes config.json and the parameters to a folder that is there.

    Args:
        dtype: of the tensors: "float32", "float16" or "bfloat16".
        largest: bytes of a file; what is more goes to a next one, with an index of all.
    """
    folder = epath.Path(folder)
    (folder / CONFIG).write_text(json.dumps(config_of(described, dtype), indent=2) + "\n")
    arrays = ((name, array.astype(jnp.dtype(dtype))) for name, array in named(described, params))
    write_parts(folder, arrays, largest)


def write_parts(
    folder: epath.Path, arrays: Iterable[tuple[str, np.ndarray]], largest: int = LARGEST
) -> None:
    """Writes tensors to a folder that is there, by their names in one file or in several with an
    index.

    Args:
        largest: bytes of a file.
    """
    parts: list[dict[str, np.ndarray]] = [{}]
    free = largest
    for name, array in arrays:
        if array.nbytes > free and parts[-1]:
            parts.append({})
            free = largest
        parts[-1][name] = array
        free -= array.nbytes
    if len(parts) == 1:
        safetensors.numpy.save_file(parts[0], folder / TENSORS, {"format": "pt"})
        return
    places, size = {}, 0
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05}-of-{len(parts):05}.safetensors"
        safetensors.numpy.save_file(part, folder / file, {"format": "pt"})
        places |= dict.fromkeys(part, file)
        size += sum(array.nbytes for array in part.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def copy_tokenizer(source: epath.PathLike, folder: epath.PathLike) -> None:
    """Copies what a folder says of its tokenizer, and of the tokens that end a text, to another."""
    for name in (TOKENIZER, SETTINGS, GENERATION, TEMPLATE):
        path = epath.Path(source) / name
        if path.exists():
            text = read_text(path, MAX_TOKENIZER, "a tokenizer")
            (epath.Path(folder) / name).write_text(text)


def named(described: Described, params: Params):
    """Yields the tensors of the files, each with its name."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    ours = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}
    for name, layers in tensors_of(described).items():
        array = np.asarray(ours[name])
        split = array if is_stacked(name, described.shape) else [array]
        for tensor, part in zip(layers, split, strict=True):
            yield tensor.name, tensor.theirs(part)


def config_of(described: Described, dtype: str) -> dict[str, Any]:
    """The config.json of a model."""
    family, shape = described.family, described.shape
    activation = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == shape.activation)
    config = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "dtype": dtype,
        "vocab_size": described.vocab_size,
        "max_position_embeddings": described.context,
        "hidden_size": shape.embed_dim,
        "intermediate_size": shape.mlp_dim,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "rms_norm_eps": shape.norm_epsilon,
        "tie_word_embeddings": shape.tie_embeddings,
        "rope_theta": shape.rope_theta,
        "hidden_activation" if family.caps else "hidden_act": activation,
    }
    if shape.rope_scaling != RopeScaling():
        config["rope_scaling"] = scaling_of(shape.rope_scaling)
    if family.windows:
        config["sliding_window"] = shape.window or None
    if family.global_every:
        config["layer_types"] = [LOCAL if local else GLOBAL for local in is_local(shape)]
    if family.local_rope_theta:
        config["rope_local_base_freq"] = shape.local_rope_theta or shape.rope_theta
    if family.caps:
        config["query_pre_attn_scalar"] = whole(shape.query_scale**-2 or shape.head_dim)
        config["attn_logit_softcapping"] = shape.attention_cap or None
        config["final_logit_softcapping"] = shape.logit_cap or None
    return config


def scaling_of(scaling: RopeScaling) -> dict[str, Any]:
    """The settings of slower rotary waves as config.json has them."""
    if not scaling.high_frequency:
        return {"rope_type": "linear", "factor": scaling.factor}
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_frequency,
        "high_freq_factor": scaling.high_frequency,
        "original_max_position_embeddings": scaling.original_length,
    }


def whole(x: float) -> float:
    """Returns `x` without the error of a square root that was taken of a whole number."""
    return round(x) if abs(x - round(x)) < 1e-6 * x else x
