import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.checkpoints import tensors
from rlsearch.checkpoints.tensors import read_tensors, write_tensors

TREE = {
    "blocks": {0: {"w": jax.random.normal(jax.random.key(0), (3, 2))}, 1: {"w": jnp.full((), 7)}},
    "empty": jnp.zeros((0, 4)),
    "half": jax.random.normal(jax.random.key(1), (5,), jnp.bfloat16).at[0].set(jnp.nan),
    "view": np.arange(6, dtype=np.float16).reshape(2, 3).T,
}


def abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def test_comes_back_bit_by_bit(tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, TREE)
    back = read_tensors(path, abstract(TREE))
    assert jax.tree.structure(back) == jax.tree.structure(TREE)
    for one, other in zip(jax.tree.leaves(TREE), jax.tree.leaves(back), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.asarray(one).tobytes() == other.tobytes()
    header = json.loads(path.read_bytes()[8:].partition(b"}}")[0] + b"}}")
    assert header["blocks.0.w"]["shape"] == [3, 2] and header["half"]["dtype"] == "BF16"


def file_of(header, data=b"\0" * 8, length=None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (file_of({"a": entry()}), None),
        (file_of({"b": entry()}), "has no tensor 'a', which its config calls for"),
        (file_of({"a": entry(), "b": entry("U8", [1], [8, 9])}, b"\0" * 9), "has a tensor 'b' of"),
        (file_of({"a": entry(shape=[1, 2])}), r"'a' as F32 \[1, 2\]: .* must be F32 \[2\]"),
        (
            file_of({"a": entry("F64", [1])}),
            r"'a' as F64 \[1\]: by its config it must be F32 \[2\]",
        ),
        (file_of({"a": entry("I32")}), r"'a' as I32 \[2\]"),
        (file_of({"a": entry("F99")}), "is damaged"),
        (file_of({"a": entry(shape=[3])}), "is damaged"),
        (file_of({"a": entry(shape=[2**62, 4])}), "is damaged"),
        (file_of({"a": entry(), "b": entry()}), "is damaged"),
        (file_of({"a": entry()}, b"\0" * 4), "is damaged"),
        (file_of(b"[" * 10_000), "is damaged"),
        (file_of({"a": entry()}, length=2**40), "header is longer than"),
        (b"", "is damaged"),
        (b"\x80\x04cos\nsystem\n(S'x'\ntR.", "is damaged"),
    ],
)
def test_a_file_from_elsewhere_is_data(tmp_path, content, said):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    expected = abstract({"a": jnp.zeros(2)})
    if said is None:
        np.testing.assert_array_equal(read_tensors(path, expected)["a"], [0, 0])
        return
    with pytest.raises(ValueError, match=said) as caught:
        read_tensors(path, expected)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": jnp.zeros(2), "b": jnp.zeros(1000)})
    monkeypatch.setattr(tensors, "MAX_HEADER", 1000)
    with pytest.raises(ValueError, match="bytes: its model takes 1016 at most"):
        read_tensors(path, abstract({"a": jnp.zeros(2)}))
    with pytest.raises(FileNotFoundError, match="there is no"):
        read_tensors(tmp_path / "other", {})
