"""A small open model in a GGUF file: random weights, a byte-level tokenizer, a chat template."""

import gguf
import numpy as np

from rlsearch.pretrained.families import EMBEDDING, LAYER, NORM
from rlsearch.pretrained.unpacked import BLOCK, OUTSIDE
from tests.pretrained.folders import END, MERGES, SPECIAL, TEMPLATE, library

HEADS, KEY_HEADS, LAYERS = 4, 2, 2
WIDTH, HIDDEN = 32, 64
TOKENS = sorted(library().get_vocab(), key=library().get_vocab().get)
THEIRS = {theirs: ours for ours, theirs in (BLOCK | OUTSIDE).items()}


def paired(x, heads):
    """Queries and keys as llama.cpp has them: the halves of a head's features in turns."""
    halves = x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:])
    return halves.swapaxes(1, 2).reshape(x.shape)


def tensors(architecture="llama"):
    """A model's tensors by the names of a folder's files."""
    random = np.random.default_rng(0)

    def drawn(*shape):
        return random.normal(size=shape).astype(np.float16).astype(np.float32)

    found = {EMBEDDING: drawn(len(TOKENS), WIDTH), NORM: drawn(WIDTH)}
    each = WIDTH // HEADS
    sizes = {"q": HEADS * each, "k": KEY_HEADS * each, "v": KEY_HEADS * each}
    for number in range(LAYERS):
        layer = LAYER.format(number)
        for side, size in sizes.items():
            found[f"{layer}self_attn.{side}_proj.weight"] = drawn(size, WIDTH)
            if architecture == "qwen2":
                found[f"{layer}self_attn.{side}_proj.bias"] = drawn(size)
        found[f"{layer}self_attn.o_proj.weight"] = drawn(WIDTH, HEADS * each)
        for side in ("gate", "up"):
            found[f"{layer}mlp.{side}_proj.weight"] = drawn(HIDDEN, WIDTH)
        found[f"{layer}mlp.down_proj.weight"] = drawn(WIDTH, HIDDEN)
        for norm in ("input", "post_attention"):
            found[f"{layer}{norm}_layernorm.weight"] = drawn(WIDTH)
    return found


def gguf_name(name):
    if name in THEIRS:
        return THEIRS[name]
    layer = name.removeprefix("model.layers.").partition(".")[0]
    rest = name.removeprefix(f"model.layers.{layer}.")
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{THEIRS[part]}.{kind}"


def write(path, architecture="llama", kind=None, leave_out=(), more=(), **fields):
    """Writes a file; `fields` are of its header, None leaves one out."""
    writer = gguf.GGUFWriter(str(path), architecture)
    said = {
        "block_count": LAYERS,
        "context_length": 512,
        "embedding_length": WIDTH,
        "feed_forward_length": HIDDEN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KEY_HEADS,
    }
    for name, value in {**said, **fields}.items():
        if name in ("pre", "model", "window") or value is None:
            continue
        writer.add_uint32(f"{architecture}.{name}", value)
    if "window" in fields:
        writer.add_uint32(f"{architecture}.attention.sliding_window", fields["window"])
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_float32(f"{architecture}.rope.freq_base", 5000.0)
    writer.add_tokenizer_model(fields.get("model", "gpt2"))
    writer.add_tokenizer_pre(fields.get("pre", "smollm"))
    writer.add_token_list(TOKENS)
    kinds = {**dict.fromkeys(SPECIAL, 3), "<think>": 4, "</think>": 4}
    writer.add_token_types([kinds.get(token, 1) for token in TOKENS])
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_eos_token_id(END)
    writer.add_chat_template(TEMPLATE)
    for name, x in tensors(architecture).items():
        if name in leave_out:
            continue
        heads = {"q_proj": HEADS, "k_proj": KEY_HEADS}.get(name.split(".")[-2])
        if heads and architecture == "llama":
            x = paired(x, heads)
        if kind and x.ndim == 2:
            x = gguf.quants.quantize(x, kind)
            writer.add_tensor(gguf_name(name), x, raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), x)
    for name in more:
        writer.add_tensor(name, np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
