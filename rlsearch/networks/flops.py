"""The cost of a network. A multiply-add is two FLOPs; a backward pass costs two forward ones."""

from rlsearch.networks.language_model import LanguageModel
from rlsearch.networks.transformer import is_local


def flops_per_token(model: LanguageModel, context: float, policy: bool = True) -> float:
    """Forward FLOPs of one token that attends to `context` tokens.

    Args:
        policy: whether the policy head is read at this token.
    """
    c = model.config
    attention = c.embed_dim * c.head_dim * (2 * c.num_heads + 2 * c.num_kv_heads)
    products = c.num_layers * (attention + 3 * c.embed_dim * c.mlp_dim)
    seen = sum(min(context, c.window) if local else context for local in is_local(c))
    scores = 2 * c.num_heads * c.head_dim * seen
    value_head = c.embed_dim * c.value_dim
    head = c.embed_dim * model.vocab_size if policy else 0
    return 2.0 * (products + scores + value_head + head)
