"""A model in a GGUF file as its family's folders have it: config.json, tensors and tokenizer.

Quantised numbers become what they stand for, by the library `gguf`. What a file says of rotary
positions and of the cutting of texts is taken over where it is known, and refused where not: a
model that reads other tokens answers nonsense.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tokenizers
from etils import epath
from tokenizers import decoders, models, normalizers, pre_tokenizers

from rlsearch.pretrained.describe import CONFIG
from rlsearch.pretrained.families import EMBEDDING, FAMILIES, LAYER, NORM, UNEMBEDDING
from rlsearch.pretrained.gguf_file import GGUFFile
from rlsearch.pretrained.tokenizer import SETTINGS, TOKENIZER
from rlsearch.text import shortened

ARCHITECTURES = ("llama", "qwen2", "qwen3")  # of GGUF files, and families of the same name
TURNED = ("llama",)  # whose queries and keys lie as rotary positions of pairs want them
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTSIDE = {
    "token_embd.weight": EMBEDDING,
    "output_norm.weight": NORM,
    "output.weight": UNEMBEDDING,
}
CONTROL, OWN = 3, 4  # kinds of tokens: those that are no text, and text that is never cut
KINDS = {int: "a whole number", float: "a number", list: "a list", str: "a text"}
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def config_of(file: GGUFFile) -> dict[str, Any]:
    """The config.json of the model.

    Raises:
        ValueError: a field is missing, or says what is not known here.
    """
    architecture = field(file, "general.architecture", str)
    if architecture not in ARCHITECTURES:
        raise refused(file, "general.architecture", f"one of {', '.join(ARCHITECTURES)}")
    if file.fields.get(f"{architecture}.attention.sliding_window"):
        raise refused(file, f"{architecture}.attention.sliding_window", "0, all that is before")
    scaling = file.fields.get(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in file.tensors:
        raise ValueError(f"{file.path} has slower rotary waves: those of GGUF files are not read")

    def whole(name: str) -> int:
        return field(file, f"{architecture}.{name}", int)

    def real(name: str) -> float:
        return float(f"{field(file, f'{architecture}.{name}', float):.6g}")  # it is a float32

    width, heads = whole("embedding_length"), whole("attention.head_count")
    own_width = f"{architecture}.attention.key_length" in file.fields
    config = {
        "model_type": architecture,
        "architectures": [FAMILIES[architecture].architecture],
        "vocab_size": len(field(file, "tokenizer.ggml.tokens", list)),
        "hidden_size": width,
        "intermediate_size": whole("feed_forward_length"),
        "num_hidden_layers": whole("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": whole("attention.head_count_kv"),
        "head_dim": whole("attention.key_length") if own_width else width // max(1, heads),
        "hidden_act": "silu",
        "rms_norm_eps": real("attention.layer_norm_rms_epsilon"),
        "rope_theta": real("rope.freq_base"),
        "max_position_embeddings": whole("context_length"),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "eos_token_id": field(file, "tokenizer.ggml.eos_token_id", int),
    }
    if "token_embd.weight" in file.tensors:  # which may have spare places
        config["vocab_size"] = file.tensors["token_embd.weight"].shape[0]
    return config


def named(file: GGUFFile, config: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the tensors by the names that a folder's files have, in float32.

    Raises:
        ValueError: a tensor is not known, or cannot be read.
    """
    for name in file.tensors:
        found = floats(file, name)
        if name in OUTSIDE:
            yield OUTSIDE[name], found
            continue
        place = re.fullmatch(r"blk\.([0-9]{1,4})\.(\w+)\.(weight|bias)", name)
        if place is None or (part := place[2]) not in BLOCK:
            raise ValueError(f"{file.path} has a tensor {shortened(name)}: it is not known here")
        if config["model_type"] in TURNED and part in ("attn_q", "attn_k"):
            side = "num_attention_heads" if part == "attn_q" else "num_key_value_heads"
            found = turned_back(file, name, found, config[side])
        yield f"{LAYER.format(int(place[1]))}{BLOCK[part]}.{place[3]}", found


def turned_back(file: GGUFFile, name: str, found: np.ndarray, heads: int) -> np.ndarray:
    """A projection whose features of a head lie in pairs, with the halves behind each other."""
    if found.shape[0] % (2 * heads):
        raise ValueError(f"{file.path} has {shortened(name)} as {list(found.shape)}: {heads} heads")
    pairs = found.reshape(heads, -1, 2, *found.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(found.shape))


def floats(file: GGUFFile, name: str) -> np.ndarray:
    """A tensor in float32.

    Raises:
        ValueError: its kind is not known, or the file ends within it.
    """
    library = gguf_library()
    tensor = file.tensors[name]
    try:
        kind = library.GGMLQuantizationType(tensor.kind)
        numbers, length = library.GGML_QUANT_SIZES[kind]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{file.path} has {shortened(name)} as kind {tensor.kind}") from error
    *rows, row = tensor.shape
    if row % numbers:
        raise ValueError(f"{file.path} has {shortened(name)} with rows of {row} {kind.name}")
    width = row // numbers * length
    raw = file.raw(name, math.prod(rows) * width).reshape(*rows, width)
    try:
        return np.asarray(library.quants.dequantize(raw, kind), np.float32).reshape(tensor.shape)
    except NotImplementedError as error:
        raise ValueError(f"{file.path} has {shortened(name)} as {kind.name}") from error


def write_tokenizer(file: GGUFFile, folder: epath.Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json.

    Raises:
        ValueError: the file's tokenizer is of a kind that is not known here, or damaged.
    """
    if file.fields.get("tokenizer.ggml.model") != "gpt2":
        raise refused(file, "tokenizer.ggml.model", "gpt2, byte pairs")
    cutting = file.fields.get("tokenizer.ggml.pre")
    if not isinstance(cutting, str) or cutting not in (known := cuttings()):
        raise refused(file, "tokenizer.ggml.pre", f"one of {', '.join(cuttings())}")
    tokens, merges = (texts(file, f"tokenizer.ggml.{name}") for name in ("tokens", "merges"))
    kinds = field(file, "tokenizer.ggml.token_type", list)
    if len(kinds) != len(tokens) or len(set(tokens)) != len(tokens):
        raise ValueError(f"{file.path} is damaged: its tokens are twice there, or of no kind")
    try:
        vocab = {token: number for number, token in enumerate(tokens)}
        pairs = [tuple(merge.split(" ")) for merge in merges]
        made = tokenizers.Tokenizer(models.BPE(vocab, pairs))  # pyright: ignore
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{file.path} is damaged: {shortened(str(error))}") from error
    made.normalizer, made.pre_tokenizer = known[cutting]  # pyright: ignore[reportAttributeAccessIssue]
    made.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    for kind, special in ((CONTROL, True), (OWN, False)):
        own = [token for token, of_kind in zip(tokens, kinds, strict=True) if of_kind == kind]
        added = [tokenizers.AddedToken(x, special=special, normalized=False) for x in own]
        (made.add_special_tokens if special else made.add_tokens)(added)
    (folder / TOKENIZER).write_text(made.to_str())
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name in ("bos", "eos"):
        number = file.fields.get(f"tokenizer.ggml.{name}_token_id")
        if type(number) is int and 0 <= number < len(tokens):
            settings[f"{name}_token"] = tokens[number]
    template = file.fields.get("tokenizer.chat_template")
    if isinstance(template, str):
        settings["chat_template"] = template
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")


def cuttings() -> dict[str, tuple[Any, Any]]:
    """The normalizer, and the cutting of texts in front of the merges, by what files call them."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words = pre_tokenizers.Split(tokenizers.Regex(QWEN), "isolated")
    qwen = normalizers.NFC(), pre_tokenizers.Sequence([words, byte_level])
    digits = pre_tokenizers.Digits(individual_digits=True)
    smol = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return {"smollm": (None, smol), "qwen2": qwen, "deepseek-r1-qwen": qwen}


def field(file: GGUFFile, name: str, kind: type) -> Any:
    """A field of the file, which must be there and of a kind."""
    found = file.fields.get(name)
    if type(found) is not kind:
        raise refused(file, name, KINDS[kind])
    return found


def texts(file: GGUFFile, name: str) -> list[str]:
    """A field of the file that is a list of texts."""
    found = field(file, name, list)
    if not all(isinstance(x, str) for x in found):
        raise refused(file, name, "a list of texts")
    return found


def refused(file: GGUFFile, name: str, valid: str) -> ValueError:
    """The error of what a field says."""
    said = shortened(file.fields.get(name))
    return ValueError(f"{file.path}: {name} is {said}: it must be {valid}")


def gguf_library() -> Any:
    """The library that knows what quantised numbers stand for.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import gguf  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError("GGUF files need gguf: pip install 'rlsearch[gguf]'") from error
    return gguf


def write_config(config: dict[str, Any], folder: epath.Path) -> None:
    """Writes config.json."""
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
