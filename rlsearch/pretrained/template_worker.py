"""The process that renders chat templates: a program of its own, which another may kill.

    python template_worker.py SECONDS BYTES

Every line that it reads is a JSON object with `template` and `values`; every line that it writes is
one with `text`, or with `error`. It can take no more memory than BYTES and no more time of the CPU
than SECONDS in all, and knows nothing of the package. Templates come from folders of others: they
are rendered in jinja2's sandbox, which lets them reach for no attribute that is not plain data and
change nothing.
"""

import datetime
import functools
import json
import resource
import sys
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

# Some templates write today's date. An experiment that is run again must have the same prompts.
TODAY = datetime.datetime(2024, 7, 26)


class Marked(jinja2.ext.Extension):
    """`{% generation %}`, by which some templates mark what an assistant wrote: it changes
    nothing."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def refuse(message: str) -> NoReturn:
    """`raise_exception`, by which a template refuses a conversation."""
    raise jinja2.TemplateError(message)


def as_json(value: Any, indent: int | None = None) -> str:
    """The filter `tojson`, which must not turn characters of HTML into something else."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def environment() -> jinja2.Environment:
    """The environment that templates of open models are written for."""
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Marked, "jinja2.ext.loopcontrols"]
    )
    made.filters["tojson"] = as_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = TODAY.strftime
    return made


def main(seconds: int, size: int) -> None:
    """Renders until there is no more to read."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    # To compile a template takes ten times as long as to render it, and most come many times.
    compiled = functools.lru_cache(maxsize=8)(environment().from_string)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = {"text": compiled(asked["template"]).render(asked["values"])}
        except MemoryError:
            said = {"error": "it takes too much memory"}
        except Exception as error:  # a template may raise whatever it likes
            said = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
