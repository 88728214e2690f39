"""Chat templates: how a family of models writes a conversation down.

A template is a program in jinja2's language, and comes from whoever made the folder. It is rendered
by a process of its own (`template_worker.py`) that has a sandbox, little memory and little time.
"""

import dataclasses
import json
import pathlib
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rlsearch.text import shortened

Message = Mapping[str, str]  # "role" and "content"

SECONDS = 5.0  # that a template may take
CPU_SECONDS = 600  # of a worker in all; then there is another
MEMORY = 2**30  # bytes of a worker
MAX_TEMPLATE = 2**20  # characters
MAX_TEXT = 2**22  # characters of a conversation, written down or not
WORKER = pathlib.Path(__file__).with_name("template_worker.py")


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """A template, and what it was read from."""

    source: str  # the program
    path: str  # of the file, for sentences about it
    names: tuple[tuple[str, str], ...] = ()  # what else it may write, such as ("eos_token", "</s>")

    def __post_init__(self):
        if len(self.source) > MAX_TEMPLATE:
            raise ValueError(
                f"{self.path}: its chat template has {len(self.source)} characters: it must have "
                f"at most {MAX_TEMPLATE}"
            )

    def render(self, messages: Sequence[Message], generate: bool = True, **values: Any) -> str:
        """Writes a conversation down.

        Args:
            messages: from the first to the last; roles are "system", "user" and "assistant".
            generate: ends with what an assistant's answer begins with.
            values: that some templates read, such as `enable_thinking`.

        Raises:
            ValueError: the template fails, or refuses the conversation, or takes too long.
        """
        size = sum(len(x["content"]) for x in messages)
        if size > MAX_TEXT:
            raise ValueError(
                f"the conversation has {size} characters: it must have at most {MAX_TEXT}"
            )
        said = {"messages": [dict(x) for x in messages], "add_generation_prompt": generate}
        asked = {"template": self.source, "values": {**dict(self.names), **said, **values}}
        answer = _WORKER.ask(json.dumps(asked), self.path)
        if "error" in answer:
            raise ValueError(
                f"{self.path}: its chat template fails: {shortened(str(answer['error']))}"
            )
        if len(answer["text"]) > MAX_TEXT:
            raise ValueError(
                f"{self.path}: its chat template writes {len(answer['text'])} characters: it must "
                f"write at most {MAX_TEXT}"
            )
        return answer["text"]


class _Worker:
    """The process that renders, begun when it is first needed and again when it had to be killed.

    One thread at a time asks it.
    """

    def __init__(self):
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, line: str, path: str) -> dict[str, Any]:
        with self._lock:
            try:
                return self._answer(line)
            except TimeoutError as error:
                raise ValueError(
                    f"{path}: its chat template takes more than {SECONDS:g} s, or "
                    f"{MEMORY // 2**20} MiB: it must take less"
                ) from error
            finally:
                if self._process is not None and self._process.poll() is not None:
                    self._process = None

    def _answer(self, line: str) -> dict[str, Any]:
        process = self._process or self._begin()
        assert process.stdin is not None and process.stdout is not None
        written = threading.Thread(target=_write, args=(process.stdin, line), daemon=True)
        written.start()  # a pipe takes little at once, and the worker may not read
        found, until = b"", time.monotonic() + SECONDS
        while not found.endswith(b"\n"):
            left = until - time.monotonic()
            ready = left > 0 and select.select([process.stdout], [], [], left)[0]
            part = process.stdout.read1(2**16) if ready else b""  # pyright: ignore
            found += part
            if not part or len(found) > 8 * MAX_TEXT:
                process.kill()
                process.wait()
                self._process = None
                raise TimeoutError
        return json.loads(found)

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", str(WORKER), str(CPU_SECONDS), str(MEMORY)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return self._process


def _write(pipe: Any, line: str) -> None:
    try:
        pipe.write(line.encode() + b"\n")
        pipe.flush()
    except OSError:
        pass  # it was killed: whoever waits for its answer says so


_WORKER = _Worker()
