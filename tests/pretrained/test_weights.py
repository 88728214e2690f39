"""Folders of models as they are, and as they must not be: every fault is one sentence."""

import json
import pickle

import jax
import numpy as np
import pytest
import safetensors.numpy

from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import make_mesh
from rlsearch.pretrained.describe import describe
from rlsearch.pretrained.export import write_model
from rlsearch.pretrained.layout import tensors_of
from rlsearch.pretrained.weights import load_model

CONFIG = {
    "model_type": "qwen3",
    "vocab_size": 11,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
ONE = make_mesh(ParallelConfig(data=1), jax.devices()[:1])
QUERY = "model.layers.1.self_attn.q_proj.weight"


def write(folder, tensors=None, **fields):
    """A folder with a model whose numbers are random."""
    config = {**CONFIG, **fields}
    (folder / "config.json").write_text(json.dumps(config))
    if tensors is None:
        random = np.random.default_rng(0)
        names = tensors_of(describe(folder)).values()
        wanted = [x for layers in names for x in layers]
        tensors = {x.name: random.normal(size=x.shape).astype(np.float32) for x in wanted}
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return tensors


def refused(folder, *parts):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_model(folder, ONE)
    said = str(caught.value)
    assert "\n" not in said and str(folder) in said, said
    for part in parts:
        assert part in said, said


def test_projections_are_those_of_the_file(tmp_path):
    tensors = write(tmp_path)
    model, params = load_model(tmp_path, ONE)
    x = np.random.default_rng(1).normal(size=16).astype(np.float32)
    block = params["blocks"][1]
    theirs = (tensors[QUERY] @ x).reshape(4, 8)
    ours = np.einsum("d,dhc->hc", x, block["attention"]["query"])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    heads = np.random.default_rng(2).normal(size=(4, 8)).astype(np.float32)
    out = tensors["model.layers.1.self_attn.o_proj.weight"]
    ours = np.einsum("hc,hcd->d", heads, block["attention"]["out"])
    np.testing.assert_allclose(ours, out @ heads.reshape(32), rtol=1e-5, atol=1e-5)
    hidden, _ = model.read(params, np.array([[3, 4]]))
    np.testing.assert_array_equal(model.value(params, hidden), 0.5)  # nobody has taught it yet


def test_what_old_releases_wrote_beside_the_weights_is_left_out(tmp_path):
    tensors = write(tmp_path, tie_word_embeddings=True)
    assert "lm_head.weight" not in tensors
    more = {
        "lm_head.weight": tensors["model.embed_tokens.weight"],
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32),
    }
    write(tmp_path, tensors | more, tie_word_embeddings=True)
    _, params = load_model(tmp_path, ONE)
    assert "unembedding" not in params


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"model_type": "mamba"}, ("model_type is 'mamba'", "llama, mistral, qwen2")),
        ({"model_type": ["llama"]}, ("model_type is ['llama']",)),
        ({"hidden_size": "16"}, ("hidden_size is '16'", "a whole number")),
        ({"hidden_size": None}, ("hidden_size is None",)),
        ({"num_hidden_layers": 10**9}, ("num_hidden_layers", "from 1 to 1000")),
        ({"vocab_size": True}, ("vocab_size is True",)),
        ({"num_key_value_heads": 3}, ("num_kv_heads", "a divisor of num_heads, 4")),
        ({"head_dim": 7}, ("head_dim", "even")),
        ({"rms_norm_eps": float("nan")}, ("config.json",)),
        ({"tie_word_embeddings": 1}, ("tie_word_embeddings is 1", "true or false")),
        ({"attention_bias": True}, ("attention_bias is True", "it must be false")),
        ({"hidden_act": "relu"}, ("hidden_act is 'relu'", "silu")),
        ({"rope_scaling": {"type": "yarn"}}, ("rope_scaling", "type is 'yarn'", "'llama3'")),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, ("factor", "at least 1")),
        ({"rope_scaling": 3}, ("rope_scaling is 3", "an object")),
        ({"rope_parameters": {"rope_type": "dynamic"}}, ("rope_type is 'dynamic'",)),
        ({"layer_types": ["full_attention"]}, ("layer_types", "2 times")),
        (
            {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4},
            ("layer_types", "in every n-th layer"),
        ),
    ],
)
def test_a_bad_config_is_one_sentence(tmp_path, fields, parts):
    write(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **fields}))
    refused(tmp_path, *parts)


def test_a_config_must_be_there_and_an_object(tmp_path):
    refused(tmp_path, "config.json")
    (tmp_path / "config.json").write_text("[1]")
    refused(tmp_path, "it must be an object")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({QUERY: None}, ("has no tensor", QUERY)),
        ({QUERY: np.zeros((16, 32), np.float32)}, (QUERY, "[16, 32]", "it must be [32, 16]")),
        ({"extra": np.zeros(3, np.float32)}, ("a tensor 'extra'", "knows nothing")),
        ({QUERY: np.zeros((32, 16), np.int32)}, (QUERY, "I32", "F32, F16, BF16")),
        ({QUERY: np.full((32, 16), np.nan, np.float32)}, (QUERY, "NaN or infinite")),
    ],
)
def test_a_bad_tensor_is_one_sentence(tmp_path, change, parts):
    tensors = write(tmp_path) | change
    write(tmp_path, {name: x for name, x in tensors.items() if x is not None})
    refused(tmp_path, *parts)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is damaged"),
        (b"\xff" * 7, "is damaged"),
        ((2**62).to_bytes(8, "little") + b"{}", "is damaged"),
        ((40).to_bytes(8, "little") + b'{"x": {"dtype"', "is damaged"),
        (pickle.dumps({"x": 1}), "is damaged"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, content, part):
    write(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    refused(tmp_path, "model.safetensors", part)


def test_a_file_cut_short_is_refused_before_anything_is_read(tmp_path):
    write(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    refused(tmp_path, "model.safetensors", "is damaged")


def test_several_files_must_all_be_there_and_hold_what_the_index_says(tmp_path):
    tensors = write(tmp_path)
    names = sorted(tensors)
    (tmp_path / "model.safetensors").unlink()
    parts = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    places = {name: file for file, held in parts.items() for name in held}
    index = tmp_path / "model.safetensors.index.json"
    refused(tmp_path, "model.safetensors")
    for file, held in parts.items():
        safetensors.numpy.save_file({name: tensors[name] for name in held}, tmp_path / file)
    for bad in ({}, {"weight_map": 3}):
        index.write_text(json.dumps(bad))
        refused(tmp_path, "weight_map")
    index.write_text(json.dumps({"weight_map": places | {names[0]: "../b.safetensors"}}))
    refused(tmp_path, "the plain name")
    index.write_text(json.dumps({"weight_map": places | {names[0]: "b.safetensors"}}))
    refused(tmp_path, "b.safetensors", names[0])
    index.write_text(json.dumps({"weight_map": places}))
    load_model(tmp_path, ONE)
    (tmp_path / "b.safetensors").unlink()
    refused(tmp_path, "b.safetensors")


def test_parameters_of_another_dtype_than_there_is_are_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match="param_dtype is 'int8': it must be 'float32' or"):
        load_model(tmp_path, ONE, param_dtype="int8")


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "llama", "rope_scaling": {"rope_type": "llama3", "factor": 4.0}},
        {"model_type": "mistral", "sliding_window": 4, "tie_word_embeddings": True},
        {"model_type": "qwen2", "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"model_type": "gemma2", "query_pre_attn_scalar": 24, "final_logit_softcapping": 30.0},
        {"model_type": "gemma3_text", "num_hidden_layers": 6, "sliding_window": 3},
    ],
)
def test_reading_what_was_written_is_the_identity(tmp_path, fields, scan_layers):
    write(tmp_path, **fields)
    _, params = load_model(tmp_path, ONE, scan_layers=scan_layers)
    described = describe(tmp_path, scan_layers=scan_layers)
    for name, largest in (("whole", 2**30), ("parts", 2000)):
        (tmp_path / name).mkdir()
        write_model(tmp_path / name, described, params, largest=largest)
        _, again = load_model(tmp_path / name, ONE, scan_layers=scan_layers)
        jax.tree.map(np.testing.assert_array_equal, params, again)
        assert describe(tmp_path / name, scan_layers=scan_layers) == described
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
