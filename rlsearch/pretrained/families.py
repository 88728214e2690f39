"""The families of open models: what each sets in the one transformer, and calls its tensors.

What a family does not say of itself is as in Llama.
"""

import dataclasses

EMBEDDING, UNEMBEDDING = "model.embed_tokens.weight", "lm_head.weight"
NORM = "model.norm.weight"  # behind the last block
LAYER = "model.layers.{}."  # in front of the name of a block's tensor


@dataclasses.dataclass(frozen=True)
class Family:
    """A family, by what sets it apart from Llama."""

    model_type: str  # as config.json says
    architecture: str  # the class of `transformers`
    tied: bool = False  # tie_word_embeddings, where config.json does not say it
    activation: str = "silu"  # as config.json calls it
    qkv_bias: bool = False
    qk_norm: bool = False
    post_norms: bool = False
    scale_embeddings: bool = False
    norm_offset: float = 0.0  # added to a norm's weight as it lies in a file
    windows: bool = False  # it may have local layers
    global_every: int = 0  # of layers, where config.json does not say it; see TransformerConfig
    head_dim: int = 0  # where config.json does not say it; 0: embed_dim / num_heads
    rope_theta: float = 10_000.0  # where config.json does not say it
    local_rope_theta: float = 0.0  # the same
    caps: bool = False  # config.json may say caps of scores and of logits

    def block_names(self) -> dict[str, str]:
        """The tensors of a block: the name in a file by the path of ours."""
        names = {
            "attention_norm.scale": "input_layernorm.weight",
            "attention.query": "self_attn.q_proj.weight",
            "attention.key": "self_attn.k_proj.weight",
            "attention.value": "self_attn.v_proj.weight",
            "attention.out": "self_attn.o_proj.weight",
            "mlp_norm.scale": "post_attention_layernorm.weight",
            "mlp.gate": "mlp.gate_proj.weight",
            "mlp.up": "mlp.up_proj.weight",
            "mlp.down": "mlp.down_proj.weight",
        }
        if self.qkv_bias:
            for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v")):
                names[f"attention.{ours}_bias"] = f"self_attn.{theirs}_proj.bias"
        if self.qk_norm:
            names["attention.query_norm.scale"] = "self_attn.q_norm.weight"
            names["attention.key_norm.scale"] = "self_attn.k_norm.weight"
        if self.post_norms:
            names["mlp_norm.scale"] = "pre_feedforward_layernorm.weight"
            names["attention_post_norm.scale"] = "post_attention_layernorm.weight"
            names["mlp_post_norm.scale"] = "post_feedforward_layernorm.weight"
        return names


GEMMA_2 = Family(
    "gemma2",
    "Gemma2ForCausalLM",
    tied=True,
    activation="gelu_pytorch_tanh",
    post_norms=True,
    scale_embeddings=True,
    norm_offset=1.0,
    windows=True,
    global_every=2,
    head_dim=256,
    caps=True,
)
FAMILIES = {
    family.model_type: family
    for family in (
        Family("llama", "LlamaForCausalLM"),
        Family("mistral", "MistralForCausalLM", windows=True),
        Family("qwen2", "Qwen2ForCausalLM", qkv_bias=True),
        Family("qwen3", "Qwen3ForCausalLM", qk_norm=True, head_dim=128),
        GEMMA_2,
        dataclasses.replace(
            GEMMA_2,
            model_type="gemma3_text",
            architecture="Gemma3ForCausalLM",
            qk_norm=True,
            global_every=6,
            rope_theta=1_000_000.0,
            local_rope_theta=10_000.0,
        ),
    )
}
