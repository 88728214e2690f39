"""A small open model in a folder: random weights, a byte-level tokenizer, a chat template."""

import json

import numpy as np
import safetensors.numpy
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from rlsearch.pretrained.describe import describe
from rlsearch.pretrained.layout import tensors_of

SPECIAL = ("<|end|>", "<|start|>")
MARKS = ("<think>", "</think>")
MERGES = [("1", "2"), ("Ġ", "a"), (".", "Ċ"), (".Ċ", "Ċ")]
VOCAB = 256 + len(MERGES) + len(SPECIAL) + len(MARKS)
END = 256 + len(MERGES)
CONTEXT = 512
TEMPLATE = (
    "{% for m in messages %}{{ '<|start|>' + m['role'] + '\n' + m['content'] + eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
CONFIG = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "eos_token_id": END,
}


def library() -> tokenizers.Tokenizer:
    """A tokenizer of bytes and a few merges, of which some hold a newline."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *("".join(pair) for pair in MERGES)]
    vocab = {word: number for number, word in enumerate(words)}
    made = tokenizers.Tokenizer(models.BPE(vocab, MERGES))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([tokenizers.AddedToken(x, special=True) for x in SPECIAL])
    made.add_tokens([tokenizers.AddedToken(x, special=False) for x in MARKS])
    return made


def open_folder(folder, template=TEMPLATE, scale=1.0, **fields):
    """Writes the folder, without weights where `scale` is 0; `fields` are of its config.json."""
    (folder / "config.json").write_text(json.dumps({**CONFIG, **fields}))
    library().save(str(folder / "tokenizer.json"))
    settings = {"eos_token": SPECIAL[0], "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if scale:
        random = np.random.default_rng(0)
        wanted = [x for layers in tensors_of(describe(folder)).values() for x in layers]
        tensors = {x.name: (scale * random.normal(size=x.shape)) for x in wanted}
        if scale < 1:  # small weights behind norms that leave what they get at its size
            norms = [name for name in tensors if "norm" in name]
            tensors |= {name: np.ones_like(tensors[name]) for name in norms}
        tensors = {name: x.astype(np.float32) for name, x in tensors.items()}
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return folder
