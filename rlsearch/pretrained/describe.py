"""A folder's config.json: which family a model is of, and its shape in the one transformer.

Releases of `transformers` from 5 on write rotary settings under `rope_parameters`, older ones under
`rope_theta` and `rope_scaling`, and leave out what is the family's default; all are read alike.
"""

import math
from typing import Any, NamedTuple

from etils import epath

from rlsearch.config import RopeScaling, TransformerConfig
from rlsearch.files import read_json
from rlsearch.networks.transformer import is_local
from rlsearch.pretrained.families import FAMILIES, Family
from rlsearch.text import shortened

CONFIG = "config.json"
MAX_CONFIG = 2**20  # bytes
MOST = {  # of a field that is a whole number; 2**20 of all others
    "num_hidden_layers": 1000,
    "vocab_size": 10_000_000,
    "max_position_embeddings": 2**30,
}
# Fields of a shape that no file says.
COMPUTED = ("dtype", "scan_layers", "remat", "adapter", "value_dim")
LOCAL, GLOBAL = "sliding_attention", "full_attention"  # layers, as config.json calls them
ACTIVATIONS = {"silu": "silu", "gelu_pytorch_tanh": "gelu"}


class Described(NamedTuple):
    """The model that a folder's config.json describes."""

    family: Family
    shape: TransformerConfig
    vocab_size: int
    context: int  # tokens that it was trained to read


def describe(folder: epath.PathLike, **computed: Any) -> Described:
    """Reads config.json of a folder.

    Args:
        computed: fields of the shape that no file says, of `COMPUTED`.

    Raises:
        FileNotFoundError: there is no config.json.
        ValueError: it is not as it must be, or of a model that the transformer is not; the sentence
            names the file and the field.
    """
    path = epath.Path(folder) / CONFIG
    fields = Fields(str(path), read_json(path, MAX_CONFIG, "a model's config"))
    model_type = fields.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        fields.refuse("model_type", f"one of {', '.join(FAMILIES)}")
    family = FAMILIES[model_type]
    heads, width = fields.whole("num_attention_heads"), fields.whole("hidden_size")
    for name in ("attention_bias", "mlp_bias", "use_bidirectional_attention"):
        if fields.flag(name, False):
            fields.refuse(name, "false")
    layers = fields.whole("num_hidden_layers")
    head_dim = fields.whole("head_dim", family.head_dim or max(1, width // heads))
    near, far = rotary(fields, family)
    scaled_query = fields.real("query_pre_attn_scalar", 256.0) if family.caps else 0.0
    shape = fields.made(
        TransformerConfig,
        num_layers=layers,
        embed_dim=width,
        num_heads=heads,
        num_kv_heads=fields.whole("num_key_value_heads", heads),
        head_dim=head_dim,
        mlp_dim=fields.whole("intermediate_size"),
        rope_theta=far[0],
        rope_scaling=far[1],
        norm_epsilon=fields.real("rms_norm_eps", 1e-6),
        qkv_bias=family.qkv_bias,
        qk_norm=family.qk_norm,
        tie_embeddings=fields.flag("tie_word_embeddings", family.tied),
        scale_embeddings=family.scale_embeddings,
        activation=activation(fields, family),
        post_norms=family.post_norms,
        query_scale=1 / math.sqrt(scaled_query) if scaled_query else 0.0,
        attention_cap=fields.real("attn_logit_softcapping", 0.0) if family.caps else 0.0,
        logit_cap=fields.real("final_logit_softcapping", 0.0) if family.caps else 0.0,
        **windows(fields, family, layers, near),
        **computed,
    )
    context = fields.whole("max_position_embeddings", 2048)
    return Described(family, shape, fields.whole("vocab_size"), context)


class Fields:
    """The fields of a config.json, each checked as it is read; null counts as absent."""

    def __init__(self, path: str, data: Any):
        self.path, self.data = path, data
        if not isinstance(data, dict):
            raise ValueError(f"{path} is damaged: it must be an object")

    def get(self, name: str) -> Any:
        """Returns what a field says; None where it says nothing."""
        return self.data.get(name)

    def refuse(self, name: str, valid: str) -> None:
        """Raises the sentence about a field."""
        raise ValueError(f"{self.path}: {name} is {shortened(self.get(name))}: it must be {valid}")

    def whole(self, name: str, default: int | None = None) -> int:
        """Reads a positive whole number."""
        found, most = self.get(name), MOST.get(name, 2**20)
        found = default if found is None else found
        if type(found) is not int or not 1 <= found <= most:
            self.refuse(name, f"a whole number from 1 to {most}")
        return found  # pyright: ignore[reportReturnType]

    def real(self, name: str, default: float) -> float:
        """Reads a number, finite and not negative."""
        found = self.get(name)
        found = default if found is None else found
        if type(found) not in (int, float) or not 0 <= found <= 1e12:
            self.refuse(name, "a number from 0 to 1e12")
        return float(found)

    def flag(self, name: str, default: bool) -> bool:
        """Reads true or false."""
        found = self.get(name)
        found = default if found is None else found
        if type(found) is not bool:
            self.refuse(name, "true or false")
        return found

    def made(self, kind: type, **values: Any) -> Any:
        """A value of a config's class, whose own complaint is then about this file."""
        try:
            return kind(**values)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error

    def inside(self, name: str) -> "Fields":
        """The fields of an object that is a field; none where it is absent."""
        found = self.get(name)
        if found is not None and not isinstance(found, dict):
            self.refuse(name, "an object, or null")
        return Fields(f"{self.path}: {name}", found or {})


def activation(fields: Fields, family: Family) -> str:
    """The MLP's activation; Gemma's config.json calls it `hidden_activation`."""
    name = "hidden_activation" if family.caps else "hidden_act"
    found = fields.get(name)
    found = family.activation if found is None else found
    if not isinstance(found, str) or found not in ACTIVATIONS:
        fields.refuse(name, f"one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[found]


Rotary = tuple[float, RopeScaling]


def rotary(fields: Fields, family: Family) -> tuple[Rotary, Rotary]:
    """Theta and scaling of rotary waves, of local layers and of those that see everything."""
    theta = fields.real("rope_theta", family.rope_theta)
    near = fields.real("rope_local_base_freq", family.local_rope_theta)
    now = fields.inside("rope_parameters")
    if now.get(GLOBAL) is not None:
        far = scaled(now.inside(GLOBAL), theta)
        return scaled(now.inside(LOCAL), near), far
    said = now if now.data else fields.inside("rope_scaling")
    return (near, RopeScaling()), scaled(said, theta)


def scaled(said: Fields, theta: float) -> Rotary:
    """Theta and scaling, as an object of config.json says."""
    theta = said.real("rope_theta", theta)
    name = "rope_type" if said.get("rope_type") is not None else "type"
    kind = said.get(name)
    if kind is None or kind == "default":
        return theta, RopeScaling()
    if kind == "linear":
        return theta, said.made(RopeScaling, factor=said.real("factor", 1.0))
    if kind != "llama3":
        said.refuse(name, "'default', 'linear' or 'llama3'")
    scaling = said.made(
        RopeScaling,
        factor=said.real("factor", 8.0),
        low_frequency=said.real("low_freq_factor", 1.0),
        high_frequency=said.real("high_freq_factor", 4.0),
        original_length=said.whole("original_max_position_embeddings", 8192),
    )
    return theta, scaling


def windows(fields: Fields, family: Family, layers: int, near: Rotary) -> dict[str, Any]:
    """The fields of local layers.

    Raises:
        ValueError: local layers lie as the transformer's cannot.
    """
    local, name = local_layers(fields, family, layers)
    if not any(local):
        return {}
    window = fields.whole("sliding_window", 4096)
    shape = {"window": window, "local_rope_theta": near[0]}
    for every in (0, *range(1, layers + 1)):
        config = TransformerConfig(num_layers=layers, window=window, global_every=every)
        if is_local(config) == local:
            if near[1].factor != 1:
                fields.refuse("rope_parameters", "without scaling in local layers")
            return shape | {"global_every": every}
    fields.refuse(name, f"{LOCAL}, and {GLOBAL} in every n-th layer")
    raise AssertionError


def local_layers(fields: Fields, family: Family, layers: int) -> tuple[list[bool], str]:
    """For each layer whether it is local, and the field that says so."""
    kinds = fields.get("layer_types")
    if kinds is not None:
        known = isinstance(kinds, list) and len(kinds) == layers
        if not known or not all(kind in (LOCAL, GLOBAL) for kind in kinds):
            fields.refuse("layer_types", f"{layers} times {LOCAL!r} or {GLOBAL!r}")
        return [kind == LOCAL for kind in kinds], "layer_types"
    if fields.flag("use_sliding_window", False):  # of Qwen, whose first layers see everything
        first = fields.whole("max_window_layers", 28)
        return [number >= first for number in range(layers)], "use_sliding_window"
    if not family.windows or (fields.get("sliding_window") is None and not family.global_every):
        return [False] * layers, "sliding_window"
    every = fields.whole("sliding_window_pattern", family.global_every or layers + 1)
    return [number % every != 0 for number in range(1, layers + 1)], "sliding_window_pattern"
