import hashlib
import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.checkpoints import tensors
from rlsearch.checkpoints.tensors import read_model, read_tensors, write_tensors

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


WEIGHTS = {
    name: np.random.default_rng(number).standard_normal(shape).astype(np.float32)
    for number, (name, shape) in enumerate({"a": (3, 2), "b": (4,), "c": (2, 2)}.items())
}
PLACES = {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}


def share(folder, weights=WEIGHTS, places=PLACES, index=None):
    """Writes a model in several files, with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in set(places.values()):
        part = {name: x for name, x in weights.items() if places[name] == file}
        write_tensors(folder / file, part)
    index = {"metadata": {"total_size": 56}, "weight_map": places} if index is None else index
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_halves_are_read_in_the_place_of_float32(tmp_path, dtype):
    halves = jax.tree.map(lambda x: jnp.asarray(x, dtype), WEIGHTS)
    write_tensors(tmp_path / "model.safetensors", halves)
    share(tmp_path / "shared", halves)
    for back in (
        read_tensors(tmp_path / "model.safetensors", abstract(WEIGHTS)),
        read_model(tmp_path, abstract(WEIGHTS))[0],
        read_model(tmp_path / "shared", abstract(WEIGHTS))[0],
    ):
        for name, x in back.items():
            assert x.dtype == np.float32
            np.testing.assert_array_equal(x, np.asarray(halves[name], np.float32))
    other = abstract(jax.tree.map(lambda x: x.astype(np.int32), WEIGHTS))
    with pytest.raises(ValueError, match="'a' as B?F16 .* must be I32"):
        read_model(tmp_path, other)


def test_a_model_in_several_files_is_the_model_in_one(tmp_path):
    write_tensors(tmp_path / "model.safetensors", WEIGHTS)
    one, digest = read_model(tmp_path, abstract(WEIGHTS))
    assert digest == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    several, other = read_model(share(tmp_path / "shared"), abstract(WEIGHTS))
    assert other != digest
    for back in (one, several):
        jax.tree.map(np.testing.assert_array_equal, back, WEIGHTS)
    with pytest.raises(FileNotFoundError, match="there is no .*model.safetensors"):
        read_model(tmp_path / "nowhere", abstract(WEIGHTS))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"a": "../one.safetensors"}, "it must be the plain name of a .safetensors file"),
        ({"a": "/etc/passwd"}, "plain name"),
        ({"a": "sub/one.safetensors"}, "plain name"),
        ({"a": "..\\one.safetensors"}, "plain name"),
        ({"a": ".safetensors"}, "plain name"),
        ({"a": "gs://bucket/one.safetensors"}, "plain name"),
        ({"a": "one.bin"}, "plain name"),
        ({"a": "one.safetensors\n"}, "plain name"),
        ({"a": "o\0ne.safetensors"}, "plain name"),
        ({"a": "x" * 100_000 + ".safetensors"}, "plain name"),
        ({"a": None}, "plain name"),
        ({"a": ["one.safetensors"]}, "plain name"),
        ({"a": "three.safetensors"}, "there is no .*three.safetensors"),
        ({"a": "two.safetensors"}, "one.safetensors has a tensor 'a' of which its index knows"),
        ({"z": "one.safetensors"}, "index.json has a tensor 'z' of which its config knows nothing"),
        ({"b": "one.safetensors"}, "has no tensor 'b'"),
    ],
)
def test_an_index_from_elsewhere_is_data(tmp_path, change, said):
    share(tmp_path, index={"weight_map": PLACES | change})
    with pytest.raises((ValueError, FileNotFoundError), match=said) as caught:
        read_model(tmp_path, abstract(WEIGHTS))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("index", [3, [], {}, {"weight_map": 3}, {"weight_map": {"a": "x"}}])
def test_an_index_that_is_none_is_refused(tmp_path, index):
    share(tmp_path, index=index)
    with pytest.raises(ValueError, match="model.safetensors.index.json "):
        read_model(tmp_path, abstract(WEIGHTS))


def test_a_tensor_in_two_files_and_a_file_too_large_are_refused(tmp_path):
    share(tmp_path)
    write_tensors(tmp_path / "two.safetensors", {name: WEIGHTS[name] for name in "ab"})
    with pytest.raises(ValueError, match="two.safetensors has a tensor 'a' of which"):
        read_model(tmp_path, abstract(WEIGHTS))
    with (tmp_path / "two.safetensors").open("ab") as file:
        file.truncate(2**33)
    with pytest.raises(ValueError, match="two.safetensors has 8589934592 bytes: its model takes"):
        read_model(tmp_path, abstract(WEIGHTS))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value, dtype):
    bad = WEIGHTS | {"b": np.where(np.arange(4) == 2, value, WEIGHTS["b"])}
    bad = jax.tree.map(lambda x: jnp.asarray(x, dtype), bad)
    write_tensors(tmp_path / "model.safetensors", bad)
    for folder in (tmp_path, share(tmp_path / "shared", bad)):
        with pytest.raises(ValueError, match="has numbers in 'b' that are NaN or infinite"):
            read_model(folder, abstract(WEIGHTS))
