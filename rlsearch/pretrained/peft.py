"""An adapter written as the library PEFT has it, to be put beside the open model it was learnt on.

Of each weight of a layer two tensors: `lora_A [R, in]` and `lora_B [out, R]`.

Letters: R rank.
"""

import json

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from etils import epath

from rlsearch.networks.adapter import ADAPTER
from rlsearch.networks.language_model import Params
from rlsearch.pretrained.describe import Described
from rlsearch.pretrained.families import LAYER

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def write_adapter(
    folder: epath.PathLike, described: Described, params: Params, base: str, dtype: str = "float32"
) -> None:
    """Writes adapter_config.json and the adapter's parameters to a folder that is there.

    Args:
        described: with the adapter in its shape.
        base: the name of the open model's folder, for who reads it.
        dtype: of the tensors: "float32", "float16" or "bfloat16".
    """
    adapter, folder = described.shape.adapter, epath.Path(folder)
    names = described.family.block_names()
    modules = {ours: theirs.removesuffix(".weight") for ours, theirs in names.items()}
    tensors = {}
    for number in range(described.shape.num_layers):
        for place, module in modules.items():
            part, _, target = place.rpartition(".")
            if target not in adapter.targets:
                continue
            down, up = pair_of(params, described.shape.scan_layers, number, part, target)
            name = f"base_model.model.{LAYER.format(number)}{module}"
            tensors[f"{name}.lora_A.weight"] = down.reshape(-1, adapter.rank).T
            tensors[f"{name}.lora_B.weight"] = up.reshape(adapter.rank, -1).T
    ready = {name: np.ascontiguousarray(x, jnp.dtype(dtype)) for name, x in tensors.items()}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [
            module.rpartition(".")[2]
            for place, module in modules.items()
            if place.rpartition(".")[2] in adapter.targets
        ],
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    safetensors.numpy.save_file(ready, folder / TENSORS, {"format": "pt"})


def pair_of(
    params: Params, stacked: bool, number: int, part: str, target: str
) -> tuple[np.ndarray, np.ndarray]:
    """The two parts of the adapter of a layer's weight: `down [..., R]` and `up [R, ...]`."""
    block = params["blocks"] if stacked else params["blocks"][number]
    pair = block[part][ADAPTER][target]
    down, up = (np.asarray(pair[side]) for side in ("down", "up"))
    return (down[number], up[number]) if stacked else (down, up)
