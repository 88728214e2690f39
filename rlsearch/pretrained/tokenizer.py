"""A folder's tokenizer: text to tokens and back, the tokens that end a text, the chat template.

`tokenizer.json` is read by the `tokenizers` library, and what else is said of it stands in
`tokenizer_config.json`, `generation_config.json` and `config.json`. No code of a folder is run.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from etils import epath

from rlsearch.files import read_json, read_text
from rlsearch.pretrained.describe import CONFIG
from rlsearch.pretrained.template import MAX_TEMPLATE, ChatTemplate
from rlsearch.text import shortened

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
GENERATION, TEMPLATE = "generation_config.json", "chat_template.jinja"
MAX_TOKENIZER = 2**27  # bytes
# Embeddings are often a little longer than the vocabulary, to a round number.
SPARE_SHARE, SPARE = 0.02, 256


@dataclasses.dataclass(frozen=True, eq=False)
class TextTokenizer:
    """The tokenizer of an open model."""

    library: tokenizers.Tokenizer
    vocab_size: int  # V, of the model: rows of its embedding
    ends: tuple[int, ...]  # tokens that end a text
    template: ChatTemplate | None
    end: int = -1  # that of them that ends a turn of a conversation; -1: there is none

    @functools.cached_property
    def special(self) -> dict[str, int]:
        """The tokens that are no text, by what they are written as."""
        added = self.library.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    def encode(self, text: str) -> list[int]:
        """Cuts a text into tokens; special ones are those that are written out in it."""
        return self.library.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Iterable[int]) -> str:
        """Joins tokens to a text, without special ones and those that stand for nothing."""
        known = [int(token) for token in tokens if token >= 0]
        known = [token for token in known if self.library.id_to_token(token) is not None]
        return self.library.decode(known, skip_special_tokens=True)

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """The tokens by what the vocabulary has for them, in their order."""
        return dict(sorted(self.library.get_vocab().items(), key=lambda pair: pair[1]))

    @functools.cached_property
    def texts(self) -> list[str]:
        """The text of each of the V tokens by itself; special ones have none."""
        return [self.decode([token]) for token in range(self.vocab_size)]

    def holding(self, delimiter: str) -> np.ndarray:
        """`[V]` bool, the tokens whose text holds a delimiter: a newline hides in many."""
        return np.array([delimiter in text for text in self.texts])

    def ending(self) -> np.ndarray:
        """`[V]` bool, the tokens that end a text."""
        return np.isin(np.arange(self.vocab_size), self.ends)

    def conversation(
        self, messages: Sequence[Mapping[str, str]], folder: epath.PathLike
    ) -> list[int]:
        """The tokens of turns, with what begins an answer behind them. Raises: see `plain` and
        `chat_template`."""
        for message in messages:
            self.plain("text", message["content"])
        return self.encode(self.chat_template(folder).render(messages))

    def plain(self, field: str, text: str) -> str:
        """Returns a text that is to be read as text.

        Raises:
            ValueError: it is empty, holds a special token, or is no Unicode.
        """
        if not text.strip():
            raise ValueError(f"{field} is {shortened(text)}: it must say something")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{field} is {shortened(text)}: it must be UTF-8") from error
        for token in self.special:
            if token in text:
                raise ValueError(
                    f"{field} is {shortened(text)}: it must not hold {shortened(token)}, by which "
                    "the model tells who speaks"
                )
        return text

    def chat_template(self, folder: epath.PathLike) -> ChatTemplate:
        """The chat template.

        Raises:
            ValueError: the folder, which the sentence names, has none.
        """
        if self.template is None:
            raise ValueError(
                f"{folder} has no chat template: neither {TEMPLATE} nor chat_template in {SETTINGS}"
            )
        return self.template


def read_tokenizer(folder: epath.PathLike, vocab_size: int) -> TextTokenizer:
    """Reads the tokenizer of a folder whose model has `vocab_size` tokens.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file is not as it must be, or the tokenizer is not of this model.
    """
    folder = epath.Path(folder)
    path = folder / TOKENIZER
    text = read_text(path, MAX_TOKENIZER, "a tokenizer")
    try:
        library = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{path} is damaged: {shortened(str(error))}") from error
    library.no_padding()
    library.no_truncation()
    tokens = library.get_vocab(with_added_tokens=True).values()
    longest = max(tokens, default=-1) + 1
    spare = max(SPARE, round(SPARE_SHARE * vocab_size))
    if not vocab_size - spare <= longest <= vocab_size:
        raise ValueError(
            f"{path} has {longest} tokens: the model that {folder / CONFIG} describes has "
            f"{vocab_size}"
        )
    settings = _object(folder / SETTINGS)
    names = tuple(
        (name, said) for name in ("bos_token", "eos_token") if (said := _token(settings.get(name)))
    )
    named = dict(names).get("eos_token")
    ends = _ends(folder, named, library)
    end = library.token_to_id(named) if named else None
    end = next(iter(ends), -1) if end is None else end
    return TextTokenizer(library, vocab_size, ends, _template(folder, settings, names), end)


def _object(path: epath.Path) -> dict[str, Any]:
    """The fields of a file that need not be there."""
    if not path.exists():
        return {}
    said = read_json(path, MAX_TOKENIZER, "a tokenizer's settings")
    if not isinstance(said, dict):
        raise ValueError(f"{path} is damaged: it must be an object")
    return said


def _token(said: Any) -> str:
    """What a special token is written as; empty where there is none."""
    said = said.get("content") if isinstance(said, dict) else said
    return said if isinstance(said, str) else ""


def _ends(folder: epath.Path, named: str | None, library: tokenizers.Tokenizer) -> tuple[int, ...]:
    """The tokens that end a text, wherever a folder says so."""
    found: set[int] = set()
    for file in (GENERATION, CONFIG):
        said = _object(folder / file).get("eos_token_id")
        for token in said if isinstance(said, list) else [said]:
            if type(token) is int:
                found.add(token)
    own = library.token_to_id(named) if named else None
    if own is not None:
        found.add(own)
    known = {token for token in found if library.id_to_token(token) is not None}
    if found and not known:
        raise ValueError(
            f"{folder / CONFIG}: eos_token_id is {shortened(sorted(found))}: it must be one of the "
            f"tokens of {TOKENIZER}"
        )
    return tuple(sorted(known))


def _template(
    folder: epath.Path, settings: dict[str, Any], names: Sequence[tuple[str, str]]
) -> ChatTemplate | None:
    """The template of a folder: a file of its own, or a field; of several that called default."""
    path = folder / TEMPLATE
    if path.exists():
        source = read_text(path, 4 * MAX_TEMPLATE, "a chat template")
        return ChatTemplate(source, str(path), tuple(names))
    path, said = folder / SETTINGS, settings.get("chat_template")
    if isinstance(said, list):
        each = {x.get("name"): x.get("template") for x in said if isinstance(x, dict)}
        said = each.get("default")
    if said is None:
        return None
    if not isinstance(said, str):
        raise ValueError(f"{path}: chat_template is {shortened(said)}: it must be a text")
    return ChatTemplate(said, str(path), tuple(names))
