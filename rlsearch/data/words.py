"""A tokenizer of one token a word, on the `tokenizers` library."""

import re
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

PAD, UNKNOWN = "<pad>", "<unk>"


class WordTokenizer:
    """Words between spaces, with the newline a word of its own.

    Token 0 is padding and token 1 stands for any word outside the vocabulary, so that hostile
    text cannot reach a word that it does not say.
    """

    def __init__(self, words: Sequence[str]):
        """Takes the words in their order, each once.

        Raises:
            ValueError: if one of them is empty or has a space or a newline in it, so that no text
                says it; a newline alone is a word.
        """
        unsayable = [word for word in words if word != "\n" and re.search(r"^$|[ \n]", word)]
        if unsayable:
            said = "a word is not empty, and has no space or newline in it"
            raise ValueError(f"words have {unsayable[0][:40]!a}: {said}")
        self.index = {
            word: token for token, word in enumerate(dict.fromkeys((PAD, UNKNOWN, *words)))
        }
        self._words = tuple(self.index)
        model = models.WordLevel(self.index, unk_token=UNKNOWN)
        self._tokenizer = Tokenizer(model)
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex("\n"), "isolated"),
                pre_tokenizers.Split(Regex(" +"), "removed"),
            ]
        )
        self._tokenizer.decoder = decoders.WordPiece(prefix="", cleanup=False)

    @property
    def pad(self) -> int:
        return 0

    @property
    def unknown(self) -> int:
        return 1

    @property
    def vocab_size(self) -> int:
        return len(self._words)

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`. A word outside the vocabulary becomes `unknown`."""
        # Half a surrogate pair is no character: the library refuses it, so "?" stands for it.
        text = text.encode("utf-8", "replace").decode()
        tokens = self._tokenizer.encode(text, add_special_tokens=False)
        # The words of the special tokens themselves are not for users to say.
        return [token if token > 1 else self.unknown for token in tokens.ids]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of `tokens` but padding: one space between words, none beside a newline."""
        words = [self._words[token] for token in tokens if token != self.pad]
        return " ".join(words).replace(" \n", "\n").replace("\n ", "\n")
