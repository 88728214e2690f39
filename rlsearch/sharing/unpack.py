"""A GGUF file unpacked: a folder as the model's family has them, opened as any other."""

from typing import Any

from rlsearch.networks.language_model import LanguageModel
from rlsearch.pretrained.describe import describe
from rlsearch.pretrained.export import write_parts
from rlsearch.pretrained.gguf_file import read_gguf
from rlsearch.pretrained.tokenizer import read_tokenizer
from rlsearch.pretrained.unpacked import (
    config_of,
    gguf_library,
    named,
    write_config,
    write_tokenizer,
)
from rlsearch.pretrained.weights import check_tensors
from rlsearch.runs.directory import new_folder


def unpack_gguf(path: str, folder: str) -> dict[str, Any]:
    """Makes a folder of a file.

    Args:
        folder: must not exist, or be empty.

    Returns:
        The folder, the family, and the number of parameters.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not as it must be, or something is at `folder` already; nothing is
            written then.
    """
    gguf_library()
    file = read_gguf(path)
    config = config_of(file)
    with new_folder(folder) as new:
        write_config(config, new)
        described = describe(new)
        write_tokenizer(file, new)
        read_tokenizer(new, described.vocab_size)
        write_parts(new, named(file, config))
        check_tensors(new, described)
    model = LanguageModel(described.shape, described.vocab_size)
    return {"folder": folder, "model_type": config["model_type"], "parameters": model.num_params()}
