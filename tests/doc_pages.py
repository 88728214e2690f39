"""The pages that people read, and the commands and programs in them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
ASSIGNMENT = re.compile(r"[A-Z_]+=")


def blocks(language: str) -> list[str]:
    """Code blocks of a language, of all pages in their order but the one of short programs."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    texts = [text for page, text in TEXTS.items() if page != "docs/python_api.md"]
    return [block for text in texts for block in pattern.findall(text)]


def prose(text: str) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text)


def split(line: str) -> tuple[list[str], list[str]]:
    """Names of the variables set before a command, and its words."""
    words = shlex.split(line, comments=True)
    names = []
    while words and ASSIGNMENT.match(words[0]):
        names.append(words.pop(0).partition("=")[0])
    return names, words


def commands(text: str) -> list[str]:
    """Lines of a shell's text that are commands, each in one line."""
    return [line for line in text.replace("\\\n", " ").splitlines() if split(line)[1]]


def write_programs(folder: Path) -> None:
    """Writes every Python block to the file in `folder` that its first line names."""
    for block in blocks("python"):
        path = folder / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)


# Each command once, though it may stand on several pages with other comments.
LINES = list({repr(split(line)): line for line in commands("".join(blocks("bash")))}.values())
COMMANDS = [line for line in LINES if split(line)[1][0] == "rlsearch"]
SCRIPTS = [line for line in LINES if split(line)[1][0] == "bash"]
DOCSTRINGS = {
    path.stem: path.read_text().split('"""')[1] for path in sorted((ROOT / "configs").glob("*.py"))
}
