"""`rlsearch chat`: a conversation with an open model."""

import argparse
import io
import sys
from collections.abc import Iterator

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_json, number, positive, whole
from rlsearch.text import lines_for_terminal

TAKES_FIELDS = False
MAX_LINE = 2**20  # characters of a message


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("chat", help="talk to an open model")
    parser.add_argument(
        "folder", metavar="FOLDER", help="with config.json, tokenizer.json and safetensors files"
    )
    parser.add_argument(
        "--message", nargs="+", metavar="TEXT", help="said one after another; else lines are read"
    )
    parser.add_argument("--system", default="", metavar="TEXT", help="said in front of all")
    parser.add_argument(
        "--max-tokens",
        type=positive,
        default=512,
        metavar="N",
        help="of an answer, without its reasoning (default: %(default)s)",
    )
    parser.add_argument(
        "--reasoning-tokens",
        type=whole,
        default=4096,
        metavar="N",
        help="of reasoning between <think> and </think>, before it has to answer "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--temperature",
        type=number,
        default=0.0,
        metavar="T",
        help="0 takes the likeliest token (default: %(default)g)",
    )
    parser.add_argument(
        "--top-p",
        type=number,
        default=1.0,
        metavar="P",
        help="only the fewest likeliest tokens of this share (default: %(default)g)",
    )
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="S", help="of the draws (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        metavar="TYPE",
        help="of parameters and computation, float32 or bfloat16 (default: %(default)s)",
    )
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Talks until there is nothing more to say."""
    del overrides
    import dataclasses

    import jax

    from rlsearch.config import ParallelConfig
    from rlsearch.decoding.conversation import Answering, Conversation
    from rlsearch.decoding.sampling import Sampling
    from rlsearch.parallel.mesh import make_mesh
    from rlsearch.pretrained.opened import open_model

    sampling = Sampling(arguments.temperature, top_p=arguments.top_p)
    answering = Answering(arguments.max_tokens, arguments.reasoning_tokens, sampling=sampling)
    dtype, mesh = arguments.dtype, make_mesh(ParallelConfig())
    opened = open_model(arguments.folder, mesh, param_dtype=dtype, dtype=dtype)
    conversation = Conversation(opened, arguments.system, answering)
    turns = []

    def told(piece: str) -> None:
        print(lines_for_terminal(piece), end="", flush=True)

    for turn_number, text in enumerate(said(arguments.message)):
        key = jax.random.fold_in(jax.random.key(arguments.seed), turn_number)
        try:
            turn = conversation.ask(text, key, told)
        except ValueError as error:
            if arguments.message:
                raise
            print(f"{error}", file=sys.stderr)  # a conversation at a keyboard goes on
            continue
        print()
        turns.append({"text": text, **dataclasses.asdict(turn)})
    tokens = sum(turn["reasoning_tokens"] + turn["answer_tokens"] for turn in turns)
    emit(arguments, {"turns": turns}, f"{len(turns)} turns, {tokens} tokens written")
    return 0


def said(messages: list[str] | None) -> Iterator[str]:
    """Yields what is to be said: the messages, or the lines that are read, empty ones left out."""
    if messages:
        yield from messages
        return
    reader = sys.stdin or io.StringIO()  # a closed one is None
    if isinstance(reader, io.TextIOWrapper):
        reader.reconfigure(errors="surrogateescape")  # what is no text is refused with a sentence
    while True:
        if reader.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = reader.readline(MAX_LINE)
        if not line:
            return
        if line.strip():
            yield line.strip()
