"""GGUF files: the model in them, unpacked, is the one that was put into them."""

import struct

import gguf
import numpy as np
import pytest
import safetensors.numpy

from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import make_mesh
from rlsearch.pretrained.describe import describe
from rlsearch.pretrained.families import NORM
from rlsearch.pretrained.gguf_file import read_gguf
from rlsearch.pretrained.opened import open_model
from tests.commands import fail, read_json, succeed
from tests.pretrained.folders import END, SPECIAL
from tests.pretrained.packed import HEADS, KEY_HEADS, TOKENS, WIDTH, paired, tensors, write


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_what_is_unpacked_is_what_was_packed(architecture, tmp_path):
    pre = "smollm" if architecture == "llama" else "qwen2"
    path = write(tmp_path / "model.gguf", architecture, pre=pre)
    found = read_json("import", path, tmp_path / "model")
    assert found["model_type"] == architecture
    unpacked = safetensors.numpy.load_file(tmp_path / "model" / "model.safetensors")
    wanted = tensors(architecture)
    assert unpacked.keys() == wanted.keys()
    for name, x in wanted.items():
        np.testing.assert_array_equal(unpacked[name], x)
    shape = describe(tmp_path / "model").shape
    assert (shape.rope_theta, shape.norm_epsilon, shape.num_kv_heads) == (5000.0, 1e-5, KEY_HEADS)
    assert shape.tie_embeddings and shape.qkv_bias == (architecture == "qwen2")
    opened = open_model(tmp_path / "model", make_mesh(ParallelConfig(data=1)))
    tokenizer = opened.tokenizer
    assert tokenizer.ends == (END,) and set(tokenizer.special) == set(SPECIAL)
    text = "12 a.\n\n<think>x</think>"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert TOKENS.index("<think>") in tokenizer.encode(text)
    assert TOKENS.index("12") not in tokenizer.encode(text)  # digits stand alone in both
    assert tokenizer.template is not None


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_1"])
def test_quantised_numbers_become_what_they_stand_for(kind, tmp_path):
    kind = gguf.GGMLQuantizationType[kind]
    path = write(tmp_path / "model.gguf", kind=kind)
    succeed("import", path, tmp_path / "model")
    unpacked = safetensors.numpy.load_file(tmp_path / "model" / "model.safetensors")
    for name, x in tensors().items():
        heads = {"q_proj": HEADS, "k_proj": KEY_HEADS}.get(name.split(".")[-2])
        if x.ndim == 2:
            lies = paired(x, heads) if heads else x
            lies = gguf.quants.dequantize(gguf.quants.quantize(lies, kind), kind)
            found = paired(unpacked[name], heads) if heads else unpacked[name]
            np.testing.assert_array_equal(found, lies)
            np.testing.assert_allclose(unpacked[name], x, atol=0.5)
        else:
            np.testing.assert_array_equal(unpacked[name], x)


@pytest.mark.parametrize(
    ("architecture", "changes", "said"),
    [
        ("mamba", {}, "general.architecture is 'mamba': it must be one of llama, qwen2, qwen3"),
        ("llama", {"block_count": None}, "llama.block_count is None: it must be a whole number"),
        ("llama", {"block_count": 3}, "has no tensor 'model.layers.2."),
        ("llama", {"block_count": 0}, "num_hidden_layers"),
        ("llama", {"attention.head_count": 0}, "num_attention_heads"),
        ("llama", {"attention.head_count": 8}, "by its config.json it must be"),
        ("llama", {"window": 4}, "llama.attention.sliding_window is 4: it must be 0"),
        ("llama", {"pre": "tekken"}, "tokenizer.ggml.pre is 'tekken': it must be one of smollm"),
        ("llama", {"model": "llama"}, "tokenizer.ggml.model is 'llama': it must be gpt2"),
        ("llama", {"leave_out": (NORM,)}, f"has no tensor '{NORM}'"),
        (
            "llama",
            {"more": ("blk.0.extra.weight",)},
            "has a tensor 'blk.0.extra.weight': it is not",
        ),
        ("llama", {"more": ("rope_freqs.weight",)}, "has slower rotary waves"),
    ],
)
def test_a_file_that_says_what_is_not_known_is_refused(architecture, changes, said, tmp_path):
    path = write(tmp_path / "model.gguf", architecture, **changes)
    assert said in fail("import", path, tmp_path / "model")
    assert {x.name for x in tmp_path.iterdir()} == {"model.gguf"}


def header(*fields, tensors=0, number=None, version=3):
    start = b"GGUF" + struct.pack("<IQQ", version, tensors, number or len(fields))
    return start + b"".join(fields)


def text(value):
    return struct.pack("<Q", len(value)) + value


DAMAGED = {
    "is no GGUF file": b"PK\3\4",
    "is no GGUF file: it does": b"",
    "is of version 1: it must be 2 or 3": header(version=1),
    "is truncated: it ends within its header": header(number=2),
    "there are 1099511627776 fields": header(number=2**40),
    "there are 70000 tensors": header(tensors=70000),
    "there are 4611686018427387904 bytes in a text": header(struct.pack("<Q", 2**62)),
    "a text in its header is no UTF-8": header(text(b"\xff\xfe")),
    "a field is of kind 77, which is not known": header(text(b"a") + struct.pack("<I", 77)),
    "a field is a list of lists": header(text(b"a") + struct.pack("<II", 9, 9)),
    "there are 1152921504606846976 items": header(text(b"a") + struct.pack("<IIQ", 9, 0, 2**60)),
    "'x' has 9 axes": header(tensors=1) + text(b"x") + struct.pack("<I", 9),
    "'x' is empty, or larger": header(tensors=1)
    + text(b"x")
    + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0),
    "general.alignment is 0": header(text(b"general.alignment") + struct.pack("<II", 4, 0)),
}


@pytest.mark.parametrize("said", DAMAGED)
def test_a_damaged_file_is_refused_at_once(said, tmp_path):
    (tmp_path / "x.gguf").write_bytes(DAMAGED[said])
    assert said in fail("import", tmp_path / "x.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_was_cut_is_refused(tmp_path):
    whole = write(tmp_path / "model.gguf").read_bytes()
    start = read_gguf(tmp_path / "model.gguf").start
    for length in (10, 100, start // 2, start - 1, start + 7, len(whole) - 2 * WIDTH * 4):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        said = fail("import", tmp_path / "cut.gguf", tmp_path / "out")
        assert "is truncated: it ends within" in said
    assert "there is no" in fail("import", tmp_path / "none.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()
