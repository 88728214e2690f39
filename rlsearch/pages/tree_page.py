"""A search tree as one HTML page: no script, nothing from elsewhere, and all text escaped.

The tree is nested <details>. What a node shows at the side (a board, a solution so far) is there
while the pointer is on the node, and stays when the node was clicked.
"""

import dataclasses
from collections.abc import Sequence

from rlsearch.text import for_page

MAX_NODES = 5_000  # on a page
MAX_DEPTH = 150  # browsers nest no more than some hundreds of elements


@dataclasses.dataclass
class TreeNode:
    """A node of a search tree, as it is shown.

    Attributes:
        label: the move or step that led here.
        visits: simulations that came through here, the one that made it included.
        value: Q, the mean over those simulations, to who chose this node.
        prior: probability of the move under the policy, before the search.
        raw_value: what the network alone says, to who chose this node.
        picture: the board, or the solution so far.
        end: how it ends here; empty where it goes on.
        chosen: whether it is on the principal variation.
        children: by visits, descending.
        hidden: children that are left out.
    """

    label: str
    visits: int
    value: float
    prior: float
    raw_value: float
    picture: str
    end: str = ""
    chosen: bool = False
    children: list["TreeNode"] = dataclasses.field(default_factory=list)
    hidden: int = 0


def tree_page(
    title: str, facts: Sequence[tuple[str, str]], notes: str, unit: str, root: TreeNode
) -> str:
    """The page.

    Args:
        facts: what is named in the header, with its value.
        notes: a sentence or two below it, on how to read the numbers.
        unit: what leads from node to node, "move" or "step".
        root: of the whole tree that is to be shown.
    """
    rows = "".join(f"<div><dt>{for_page(k)}</dt><dd>{for_page(v)}</dd></div>" for k, v in facts)
    head = f'<div class="row head"><span class="label">{for_page(unit)}</span>' + "".join(
        f'<span class="{name}">{text}</span>'
        for name, text in (
            *(("bar", "share of visits"), ("number", "visits"), ("number", "Q")),
            *(("number", "prior"), ("number", "network")),
        )
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_POLICY}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{for_page(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{for_page(title)}</h1><dl>{rows}</dl><p>{for_page(notes)}</p></header>\n"
        f"<main>\n{head}</div>\n{_node(root, root.visits, depth=0)}</main>\n"
        f'<div class="picture first">{for_page(root.picture)}</div>\n</body>\n</html>\n'
    )


def _node(node: TreeNode, siblings_visits: int, depth: int) -> str:
    share = 100 * node.visits / max(siblings_visits, 1)
    end = f' <b class="end">{for_page(node.end)}</b>' if node.end else ""
    chosen = " chosen" if node.chosen else ""
    prior = "" if depth == 0 else f"{100 * node.prior:.1f}%"
    numbers = (str(node.visits), _number(node.value), prior, _number(node.raw_value))
    cells = (
        f'<span class="label" style="--depth:{depth}">{for_page(node.label)}{end}</span>'
        f'<span class="bar"><i style="width:{share:.1f}%"></i></span>'
        + "".join(f'<span class="number">{number}</span>' for number in numbers)
        + f'<span class="picture">{for_page(node.picture)}</span>'
    )
    if not node.children and not node.hidden:
        return f'<div class="row leaf{chosen}" tabindex="0">{cells}</div>\n'
    # One of a node's visits is its own, all others went on to its children.
    inner = "".join(_node(child, node.visits - 1, depth + 1) for child in node.children)
    if node.hidden:
        label = (
            f'<span class="label" style="--depth:{depth + 1}">{node.hidden} more, not shown</span>'
        )
        inner += f'<div class="row more">{label}</div>\n'
    opened = " open" if depth == 0 or node.chosen else ""
    return f'<details{opened}><summary class="row{chosen}">{cells}</summary>\n{inner}</details>\n'


def _number(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # and never -0.000


_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #e3e6ea;
  --paper: #fff; --tint: #fdf3d8; --mark: #d29922; --bar: #4c78a8; --hover: #f2f5f9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ec; --soft: #98a2b3; --line: #30363d;
  --paper: #14181d; --tint: #332a12; --bar: #6b9bd1; --hover: #1f252c; } }
body { margin: 0; padding: 1.5rem 2rem; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .6rem; }
dl { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; margin: 0; }
dt { color: var(--soft); font-size: .78rem; }
dd { margin: 0; overflow-wrap: anywhere; }
header { margin: 0 25rem 1.2rem 0; }
header p { color: var(--soft); }
main { margin-right: 25rem; min-width: 38rem; }
.row { display: flex; align-items: center; gap: .6rem; padding: .12rem .4rem; cursor: default;
  border-bottom: 1px solid var(--line); border-left: 3px solid transparent; }
.row:hover { background: var(--hover); }
.row:focus { outline: 1px solid var(--bar); outline-offset: -1px; }
summary.row { cursor: pointer; list-style: none; }
summary.row::-webkit-details-marker { display: none; }
.label { flex: 1; min-width: 0; padding-left: min(var(--depth, 0) * 1rem, 22%);
  font-family: ui-monospace, monospace;
  overflow-wrap: anywhere; }
.label::before { content: "\\a0\\a0"; color: var(--soft); }
summary > .label::before { content: "\\25b8\\a0"; }
details[open] > summary > .label::before { content: "\\25be\\a0"; }
.chosen { background: var(--tint); border-left-color: var(--mark); }
.chosen > .label { font-weight: 600; }
.end { margin-left: .5rem; padding: 0 .45rem; border: 1px solid currentColor; border-radius: 1rem;
  font: 600 .74rem system-ui, sans-serif; color: var(--mark); }
.bar { flex: none; width: 6rem; }
.bar i { display: block; height: .55rem; border-radius: 2px; background: var(--bar); }
.number { flex: none; width: 3.7rem; text-align: right; font-variant-numeric: tabular-nums; }
.head, .more { color: var(--soft); font-size: .78rem; }
.head > .label { font-family: inherit; }
.picture { display: none; position: fixed; top: 1.5rem; right: 2rem; z-index: 1;
  min-width: 12rem; max-width: 26rem; max-height: calc(100vh - 4rem); overflow: auto;
  padding: 1rem; box-sizing: border-box; white-space: pre; color: var(--ink);
  font: 14px/1.35 ui-monospace, monospace; background: var(--paper);
  border: 1px solid var(--line); border-radius: 6px; }
.picture.first { display: block; z-index: 0; }
.row:focus > .picture { display: block; z-index: 1; }
.row:hover > .picture { display: block; z-index: 2; }
@media (max-width: 62rem) { header, main { margin-right: 0; }
  .picture { top: auto; bottom: 1rem; right: 1rem; } }
"""
