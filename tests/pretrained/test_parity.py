"""Every family against `transformers`, through real files: the same logits, the same tokens.

`transformers` and torch are no part of the extra `test`; where they are missing, these are skipped.
"""

import copy
import functools
import json

import jax
import numpy as np
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.decoding.sampling import GREEDY
from rlsearch.decoding.slots import Requests, advance, empty_slots, read_prompts
from rlsearch.parallel.mesh import make_mesh
from rlsearch.pretrained.describe import describe
from rlsearch.pretrained.export import write_model
from rlsearch.pretrained.tokenizer import read_tokenizer
from rlsearch.pretrained.weights import load_model
from tests.pretrained.folders import VOCAB, open_folder

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.slow

V, LENGTH, WRITTEN = 61, 14, 128
SMALL = dict(
    vocab_size=V,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=160,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
LLAMA_3 = dict(
    rope_type="llama3",
    rope_theta=500.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
GEMMA = dict(head_dim=16, query_pre_attn_scalar=24, sliding_window=5)
FAMILIES = {
    "llama 2": ("Llama", dict(tie_word_embeddings=False)),
    "llama 3": ("Llama", dict(rope_parameters=LLAMA_3)),
    "smollm2": ("Llama", dict(tie_word_embeddings=True, num_key_value_heads=1)),
    "mistral": ("Mistral", dict(sliding_window=5, head_dim=8)),
    "qwen 2": ("Qwen2", dict()),
    "qwen 3": ("Qwen3", dict(head_dim=16, tie_word_embeddings=True)),
    "gemma 2": ("Gemma2", GEMMA | dict(attn_logit_softcapping=2.0, final_logit_softcapping=1.5)),
    "gemma 3": (
        "Gemma3Text",
        GEMMA
        | dict(
            layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
            num_hidden_layers=6,
            rope_parameters={
                "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=900.0),
                "sliding_attention": dict(rope_type="default", rope_theta=100.0),
            },
        ),
    ),
}
CLASSES = {"Gemma3Text": "Gemma3ForCausalLM"}


@pytest.fixture(scope="module", params=FAMILIES)
def peer(request, tmp_path_factory):
    """A random model of a family, and the folder that it was saved to."""
    name, fields = FAMILIES[request.param]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(SMALL | fields))
    config._attn_implementation = "eager"  # the only one that caps scores
    model = getattr(transformers, CLASSES.get(name, f"{name}ForCausalLM"))(config).eval()
    with torch.no_grad():  # fresh norms, biases and tokens are all alike
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "_"))
    model.save_pretrained(folder)
    return model, folder


def mesh(**sizes):
    config = ParallelConfig(**{"data": 1} | sizes)
    return make_mesh(config, jax.devices()[: config.data * config.model])


def prompts():
    """Tokens `[3, LENGTH]` and which are real: two rows are padded on the left."""
    tokens = np.random.default_rng(0).integers(3, V, (3, LENGTH))
    real = np.arange(LENGTH) >= np.array([[0], [3], [6]])
    return np.where(real, tokens, 0), real


def their_logits(model, tokens, real):
    with torch.no_grad():
        found = model(
            input_ids=torch.tensor(tokens),
            attention_mask=torch.tensor(real.astype(np.int64)),
            position_ids=torch.tensor(np.maximum(real.cumsum(axis=1) - 1, 0)),
        )
    return found.logits.float().numpy()


@functools.partial(jax.jit, static_argnums=0)
def our_logits(model, params, tokens, real):
    hidden, _ = model.read(params, tokens, real)
    return model.policy_logits(params, hidden)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_logits_are_those_of_the_peer(peer, scan_layers):
    theirs, folder = peer
    model, params = load_model(folder, mesh(), scan_layers=scan_layers)
    tokens, real = prompts()
    wanted = their_logits(theirs, tokens, real)
    found = np.asarray(our_logits(model, params, tokens, real))
    assert np.abs(wanted[real]).max() > 0.5
    np.testing.assert_allclose(found[real], wanted[real], atol=1e-4)


def test_logits_in_bfloat16_are_as_near_as_the_peers_own(peer):
    theirs, folder = peer
    model, params = load_model(folder, mesh(), param_dtype="bfloat16", dtype="bfloat16")
    assert {x.dtype.name for x in jax.tree.leaves(params)} == {"bfloat16", "float32"}
    tokens, real = prompts()
    exact = their_logits(theirs, tokens, real)[real]
    half = their_logits(copy.deepcopy(theirs).to(torch.bfloat16), tokens, real)[real]
    ours = np.asarray(our_logits(model, params, tokens, real))[real]
    assert np.abs(ours - exact).max() <= max(2e-2, 1.5 * np.abs(half - exact).max())


def test_the_same_tokens_are_written_greedily(peer):
    """Three prompts of other lengths in two slots; the peer writes each by itself."""
    theirs, folder = copy.deepcopy(peer[0]), peer[1]
    theirs.generation_config.eos_token_id = None
    model, params = load_model(folder, mesh())
    tokens, real = prompts()
    read = read_prompts(model, params, tokens, real)
    keys, limits = jax.random.split(jax.random.key(0), 3), np.full(3, WRITTEN)
    wanted = Requests(np.arange(3), keys, limits, np.zeros(V, bool))
    slots = empty_slots(read, wanted, 2, WRITTEN)
    found = advance(model, params, slots, read, wanted, GREEDY).texts.tokens
    for row in range(3):
        prompt = torch.tensor(tokens[row][real[row]])[None]
        text = theirs.generate(input_ids=prompt, max_new_tokens=WRITTEN, do_sample=False)
        assert found[row].tolist() == text[0, prompt.shape[1] :].tolist()


def test_a_tokenizer_and_a_template_say_what_the_peers_say(tmp_path):
    open_folder(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    ours = read_tokenizer(tmp_path, VOCAB)
    assert ours.template is not None
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 12 + 30?\n\u00e9\u4e16  <b>"},
        {"role": "assistant", "content": "42"},
        {"role": "user", "content": "And now?"},
    ]
    text = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert ours.template.render(messages) == text
    tokens = theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.encode(text) == tokens
    assert ours.decode(tokens) == theirs.decode(tokens, skip_special_tokens=True)
    assert theirs.eos_token_id in ours.ends


def test_parameters_lie_where_the_mesh_says_and_are_the_same(peer):
    _, folder = peer
    _, whole = load_model(folder, mesh())
    split = mesh(data=2, model=2)
    _, params = load_model(folder, split)
    assert any(not x.sharding.is_fully_replicated for x in jax.tree.leaves(params))
    for x in jax.tree.leaves(params):
        assert x.sharding.mesh == split
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(params), jax.device_get(whole))


def test_several_files_are_one_model(peer, tmp_path):
    theirs, folder = peer
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    one, several = (load_model(x, mesh())[1] for x in (folder, tmp_path))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(one), jax.device_get(several))


def test_a_config_of_older_releases_says_the_same(peer):
    """They wrote `rope_theta` and `sliding_window_pattern`, and no `layer_types`."""
    _, folder = peer
    now = json.loads((folder / "config.json").read_text())
    old, rope = dict(now), now["rope_parameters"]
    far = rope.get("full_attention", rope)
    old.pop("rope_parameters")
    old.pop("layer_types", None)
    old["rope_theta"] = far["rope_theta"]
    if far["rope_type"] != "default":
        old["rope_scaling"] = {k: v for k, v in far.items() if k != "rope_theta"}
    if "full_attention" in rope:
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        old["sliding_window_pattern"] = 3
    model, _ = load_model(folder, mesh())
    (folder / "config.json").write_text(json.dumps(old))
    try:
        again, _ = load_model(folder, mesh())
    finally:
        (folder / "config.json").write_text(json.dumps(now))
    assert again.config == model.config


def test_what_is_exported_has_the_same_logits_for_the_peer(peer, tmp_path):
    theirs, folder = peer
    _, params = load_model(folder, mesh())
    write_model(tmp_path, describe(folder), params)
    again = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager"
    ).eval()
    assert type(again) is type(theirs)
    tokens, real = prompts()
    wanted, found = (their_logits(model, tokens, real)[real] for model in (theirs, again))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
