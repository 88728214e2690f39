"""Conversations with an open model, in which reasoning is dropped from turn to turn.

    input 1 -> reasoning 1, answer 1
    input 1, answer 1, input 2 -> reasoning 2, answer 2
    ...

Every turn carries the inputs and answers before it, and none of the reasoning. Reasoning is what a
model writes between two marks. It may have a budget of tokens: when that is spent, the reasoning is
ended for it, and it has to answer.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import check
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.slots import (
    Requests,
    advance,
    bucket,
    empty_slots,
    padded,
    read_prompts,
)
from rlsearch.pretrained.opened import OpenModel

TURNS = 16  # tokens between two looks at what is written

Told = Callable[[str], None]  # hears each new piece of a text


@dataclasses.dataclass(frozen=True)
class Answering:
    """The way to answer."""

    max_tokens: int = 512  # of an answer, without its reasoning
    reasoning_tokens: int = 4096  # of the reasoning; then the model has to answer
    begin: str = "<think>"  # the mark in front of reasoning
    end: str = "</think>"  # the mark behind it
    sampling: Sampling = Sampling(temperature=0.0)

    def __post_init__(self):
        check(1 <= self.max_tokens <= 2**20, self, "max_tokens", "from 1 to 1048576")
        check(0 <= self.reasoning_tokens <= 2**20, self, "reasoning_tokens", "from 0 to 1048576")
        check(bool(self.begin and self.end), self, "end", "a mark, as begin is")


@dataclasses.dataclass(frozen=True)
class Turn:
    """An answer of a model, and what led to it."""

    answer: str
    reasoning: str  # dropped before the next turn
    prompt_tokens: int
    reasoning_tokens: int
    answer_tokens: int
    forced: bool  # its reasoning was ended for it
    cut: bool  # its answer was ended by its longest length


class Conversation:
    """A conversation with a model. Not for several threads at once."""

    def __init__(self, opened: OpenModel, system: str = "", answering: Answering = Answering()):
        """Begins one.

        Raises:
            ValueError: the model's folder has no chat template.
        """
        self.opened, self.answering = opened, answering
        self.template = opened.tokenizer.chat_template(opened.folder)
        self.messages: list[dict[str, str]] = []
        if system:
            said = self.opened.tokenizer.plain("system", system)
            self.messages.append({"role": "system", "content": said})

    def ask(self, text: str, key: jax.Array, told: Told = lambda piece: None) -> Turn:
        """Says `text`, and returns what the model answers; both are then part of the conversation.

        Args:
            key: typed, consumed: the same one gives the same answer.
            told: hears the answer, and its reasoning with its marks, while they are written.

        Raises:
            ValueError: the text holds a special token, or what stands before the answer leaves no
                room for it in the model's context. The conversation is then as before.
        """
        said = self.opened.tokenizer.plain("text", text)
        messages = [*self.messages, {"role": "user", "content": said}]
        prompt = self.opened.tokenizer.encode(self.template.render(messages))
        turn = self._answered(prompt, key, told)
        self.messages = [*messages, {"role": "assistant", "content": turn.answer}]
        return turn

    def _answered(self, prompt: list[int], key: jax.Array, told: Told) -> Turn:
        how, tokenizer = self.answering, self.opened.tokenizer
        first, second = jax.random.split(key)
        begun = self._text(prompt).rstrip().endswith(how.begin)  # some templates begin it

        def reasons(text: str) -> bool:
            return begun or text.lstrip().startswith(how.begin)

        def kept(tokens: list[int]) -> int | None:
            """How many are kept of what is over: reasoning with its mark, or an answer alone."""
            text = self._text(tokens)
            if not reasons(text):
                undecided = how.begin.startswith(text.strip())
                return how.max_tokens if len(tokens) >= how.max_tokens and not undecided else None
            if how.end in text:
                return self._to_mark(tokens)
            return how.reasoning_tokens if len(tokens) >= how.reasoning_tokens else None

        longest = how.reasoning_tokens if begun else max(how.max_tokens, how.reasoning_tokens)
        written = self._write(prompt, first, longest, told, kept)
        if not reasons(self._text(written)):
            return self._turn(prompt, [], written, forced=False)
        forced = how.end not in self._text(written)
        if forced:
            mark = f"\n{how.end}\n\n"
            told(mark)
            own = [token for token in written if token not in tokenizer.ends]
            written = [*own, *tokenizer.encode(mark)]
        answer = self._write([*prompt, *written], second, how.max_tokens, told)
        return self._turn(prompt, written, answer, forced)

    def _to_mark(self, tokens: list[int]) -> int:
        """Counts the first tokens that hold the mark of the end of reasoning."""
        return next(
            n for n in range(len(tokens) + 1) if self.answering.end in self._text(tokens[:n])
        )

    def _turn(self, prompt: list[int], reasoning: list[int], answer: list[int], forced: bool):
        tokenizer, how = self.opened.tokenizer, self.answering
        thought = self._text(reasoning).replace(how.begin, "").replace(how.end, "")
        said = tokenizer.decode(answer)
        for mark in (*tokenizer.special, how.begin, how.end):
            said = said.replace(mark, "")  # written out letter by letter it would come back as one
        return Turn(
            answer=said.strip(),
            reasoning=thought.strip(),
            prompt_tokens=len(prompt),
            reasoning_tokens=len(reasoning),
            answer_tokens=len(answer),
            forced=forced,
            cut=not (answer and answer[-1] in tokenizer.ends),
        )

    def _text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, marks included, which are special tokens in some models."""
        return self.opened.tokenizer.library.decode(list(tokens), skip_special_tokens=False)

    def _write(
        self,
        prompt: list[int],
        key: jax.Array,
        limit: int,
        told: Told,
        kept: Callable[[list[int]], int | None] = lambda tokens: None,
    ) -> list[int]:
        """Writes behind a prompt.

        Args:
            limit: of tokens.
            kept: of what is written, how many tokens are kept, when it is over; else None.
        """
        opened, context = self.opened, self.opened.context
        room = context - len(prompt)
        if room < 1:
            raise ValueError(
                f"the conversation has {len(prompt)} tokens: the model's context has {context}, "
                "and an answer needs one of them"
            )
        limit = min(limit, room)
        if not limit:
            return []
        ending = opened.tokenizer.ending()
        tokens, real = padded([prompt], bucket(len(prompt)))
        prompts = read_prompts(opened.model, opened.params, tokens, real)
        limits, which = jnp.array([limit]), jnp.zeros((1,), jnp.int32)
        requests = Requests(which, key[None], limits, jnp.asarray(ending))
        slots = empty_slots(prompts, requests, 1, bucket(limit))
        shown = ""
        while True:
            sampling = self.answering.sampling
            slots = advance(
                opened.model, opened.params, slots, prompts, requests, sampling, turns=TURNS
            )
            number = int(slots.texts.lengths[0])
            written = np.asarray(slots.texts.tokens[0, :number]).tolist()
            done = number >= limit or written[-1] in opened.tokenizer.ends
            most = kept(written)
            written, done = written[:most], done or most is not None
            text = opened.tokenizer.decode(written)
            # Half a character is told when the rest of it is there.
            text = text if done else text.rstrip("\N{REPLACEMENT CHARACTER}")
            if text.startswith(shown):
                told(text[len(shown) :])
                shown = text
            if done:
                return written
