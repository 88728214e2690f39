"""An open model: a folder's network, its parameters and its tokenizer."""

from typing import Any, NamedTuple

from etils import epath
from jax.sharding import Mesh

from rlsearch.config import ShardingRules
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.pretrained.describe import describe
from rlsearch.pretrained.tokenizer import TextTokenizer, read_tokenizer
from rlsearch.pretrained.weights import load_model


class OpenModel(NamedTuple):
    """A model that reads and writes text."""

    folder: str
    model: LanguageModel
    params: Params
    tokenizer: TextTokenizer
    context: int  # tokens that it was trained to read


def open_model(
    folder: epath.PathLike,
    mesh: Mesh,
    rules: ShardingRules = ShardingRules(),
    param_dtype: str = "float32",
    **computed: Any,
) -> OpenModel:
    """Reads all of a folder; the arguments, and what is raised, are those of `load_model`."""
    described = describe(folder, **computed)  # small files first: what is wrong shows at once
    tokenizer = read_tokenizer(folder, described.vocab_size)
    model, params = load_model(folder, mesh, rules, param_dtype, **computed)
    return OpenModel(str(folder), model, params, tokenizer, described.context)
