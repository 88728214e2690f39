"""The names of stages are a config's own: no code knows one but as the default of a field."""

import re
from pathlib import Path

import rlsearch

PACKAGE = Path(rlsearch.__file__).parent
NAME = re.compile(r'"(distilled|control|base|orm|prm)"')
# The names that stages have, and refer to, where a config does not say any.
DEFAULT = re.compile(r'    (name|start|policy): str = "\w+"  # .*')
KNOWS = {"runs/format_1.py"}  # in which every stage had a fixed name


def test_the_code_knows_no_name_of_a_stage():
    wrong = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if str(path.relative_to(PACKAGE)) not in KNOWS
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if NAME.search(line) and not (path.parent.name == "stages" and DEFAULT.fullmatch(line))
    ]
    assert not wrong, "\n".join(wrong)
