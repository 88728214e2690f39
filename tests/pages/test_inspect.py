import html.parser
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.arena.notation import make_notation
from rlsearch.config import SearchConfig
from rlsearch.pages import inspect
from rlsearch.pages.inspect import build_tree, main_line, play_moves, select_nodes
from rlsearch.pages.tree_page import TreeNode, tree_page
from rlsearch.search.moves import search_moves
from tests.boards import TWICE, NoKnowledge, TableGame, jitted

VOID = {"meta"}


def searched(environment: Any, state, num_simulations: int = 80, worth: float = 0.3):
    """The chosen action and the tree of one search, on the host."""
    model: Any = NoKnowledge(environment, worth)
    config = SearchConfig(
        actions="moves", num_simulations=num_simulations, num_candidates=9, gumbel_scale=0.0
    )
    states, keys = jax.tree.map(lambda x: x[None], state), jax.random.key(0)[None]
    run = jax.jit(lambda *x: search_moves({}, *x, environment, model, config))
    result = run(keys, states)
    return jax.tree.map(lambda x: np.asarray(x[0]), (result.action, result.tree))


@pytest.fixture(scope="module")
def late():
    """Tic-tac-toe near its end, where most lines come to one: X to move, and 3 wins."""
    environment, reset, step, _ = jitted("tic_tac_toe")
    state = reset(jax.random.key(0))
    for cell in (1, 4, 2, 5):
        state = step(state, jnp.int32(cell - 1), jax.random.key(0))
    action, tree = searched(environment, state)
    return int(action), tree, tree.embeddings.terminated


def shown(tree, over, chosen=frozenset()):
    """The root, and how many nodes there were; labels are the nodes' numbers in the tree."""
    kept, count = select_nodes(tree, over)
    root = build_tree(tree, kept, over, set(chosen), lambda index: describe(tree, index))
    return root, count


def describe(tree, index: int) -> dict[str, Any]:
    move = int(tree.action_from_parent[index])
    return {"label": f"{index}/{move}", "picture": "", "prior": 0.5, "end": ""}


def walk(root: TreeNode):
    yield root
    for child in root.children:
        yield from walk(child)


def number(node: TreeNode) -> int:
    return int(node.label.split("/")[0])


def test_all_visited_nodes_are_there_below_their_parents(late):
    _, tree, over = late
    root, count = shown(tree, over)
    # The same tree, downwards: a search goes on behind an end, where there is nothing new.
    expected, below = {0: -1}, [0]
    for index in below:
        for action, child in enumerate(tree.children_index[index]):
            if child >= 0 and not over[index]:
                assert tree.action_from_parent[child] == action
                expected[int(child)] = index
                below.append(int(child))
    found = {number(child): number(node) for node in walk(root) for child in node.children}
    assert {0: -1, **found} == expected and count == len(expected) > 20
    assert over[1:][tree.parents[1:] >= 0].any() and len(expected) < len(tree.parents)
    for node in walk(root):
        assert [child.visits for child in node.children] == sorted(
            (child.visits for child in node.children), reverse=True
        )


def test_visits_add_up(late):
    _, tree, over = late
    root, _ = shown(tree, over)
    assert root.visits == 81
    for node in walk(root):
        if not over[number(node)]:
            assert node.visits == 1 + sum(child.visits for child in node.children)
            assert node.hidden == 0
    assert any(over[number(node)] and node.visits > 1 for node in walk(root))


def test_values_are_to_who_made_the_move(late):
    _, tree, over = late
    root, _ = shown(tree, over)
    assert root.value == pytest.approx(tree.node_values[0])
    assert root.raw_value == pytest.approx(0.3)
    for node in walk(root):
        below = tree.children_rewards[number(node)] + (
            tree.children_discounts[number(node)] * tree.children_values[number(node)]
        )
        for child in node.children:
            action = int(child.label.split("/")[1])
            assert child.value == pytest.approx(float(below[action]), abs=1e-6)
    ends = {child.label.split("/")[1]: child for child in root.children}
    assert ends["2"].value == ends["2"].raw_value == 1.0  # X wins in cell 3
    assert ends["6"].raw_value == pytest.approx(-0.3)  # what O gets of a position is taken from X
    losing = [node for node in walk(root) if over[number(node)] and node.raw_value == 1.0]
    assert {int(tree.embeddings.moves[number(node)]) for node in losing} >= {5, 6}


def test_the_sign_stays_where_a_player_moves_again():
    environment: Any = TableGame(TWICE)
    _, tree = searched(environment, environment.state(()), num_simulations=9)
    root, _ = shown(tree, tree.embeddings.terminated)
    signs = {int(tree.embeddings.moves[number(x)]): x.raw_value for x in walk(root) if number(x)}
    assert signs[1] == pytest.approx(0.3)  # player 0, and player 0 again
    assert signs[2] == pytest.approx(-0.3)  # now player 1 moves


def test_the_main_line_is_the_move_that_is_played_and_the_most_visited_behind_it(late):
    action, tree, over = late
    assert action == 2 and main_line(tree, action, over) == {0, tree.children_index[0, 2]}  # X wins
    root, _ = shown(tree, over, main_line(tree, 6, over))
    node = next(child for child in root.children if child.label.endswith("/6"))
    assert node.chosen and sum(child.chosen for child in root.children) == 1
    length = 2
    while node.children:
        assert [child.chosen for child in node.children] == [True] + [False] * (
            len(node.children) - 1
        )
        node, length = node.children[0], length + 1
    assert 3 <= length == sum(node.chosen for node in walk(root))


def test_of_a_large_tree_the_nodes_visited_most_are_shown(late, monkeypatch):
    _, tree, over = late
    whole, count = shown(tree, over)
    monkeypatch.setattr(inspect, "MAX_NODES", 12)
    root, total = shown(tree, over)
    nodes = list(walk(root))
    assert (len(nodes), total) == (12, count)
    left_out = sorted((x.visits for x in walk(whole)), reverse=True)[12:]
    assert min(node.visits for node in nodes) >= max(left_out)
    sizes = {number(node): len(node.children) for node in walk(whole)}
    assert all(node.hidden == sizes[number(node)] - len(node.children) for node in nodes)
    page = tree_page("", [], "", "move", root)
    hidden = [node.hidden for node in nodes if node.hidden]
    assert hidden and all(f">{size} more, not shown<" in page for size in hidden)
    assert page.count("more, not shown") == len(hidden)
    monkeypatch.setattr(inspect, "MAX_NODES", 5000)
    monkeypatch.setattr(inspect, "MAX_DEPTH", 1)
    root, _ = shown(tree, over)
    assert len(list(walk(root))) == 1 + len(whole.children) and any(x.hidden for x in walk(root))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5 5", "its move 2, '5', is not legal there: legal are 1 2 3 4 6 7 8 9"),
        ("5, 1 zz", "its move 3, 'zz', is not legal there: legal are 2 3 4 6 7 8 9"),
        ("\x1b[2J" + "9" * 500, "is not legal there: legal are 1 2"),
        ("1 4 2 5 3", "the game is over behind it"),
        ("1 4 2 5 3 6", "the game is over before its move 6, '6'"),
    ],
)
def test_moves_that_cannot_be_played_are_refused(text, said):
    environment = jitted("tic_tac_toe")[0]
    notation = make_notation(environment)
    with pytest.raises(ValueError, match="^problem is '") as error:
        play_moves(environment, notation, text, seed=0)
    assert said in str(error.value) and len(str(error.value)) < 300
    assert str(error.value).isprintable()
    state, beginner = play_moves(environment, notation, "5,1  4", seed=0)
    assert int(state.moves) == 3 and int(state.player) != beginner


# ---- The page ----------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Its elements, its texts, and whether all that is opened is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


HOSTILE = "</span></details><script>alert(1)</script><img src=x onerror='a()'>\"&amp; \ud800\x00"


def hostile_tree() -> TreeNode:
    leaf = TreeNode(HOSTILE, 1, -0.25, 0.125, -0.5, HOSTILE, end=HOSTILE, chosen=True)
    other = TreeNode("b", 3, 0.0, 0.5, -1e-9, "line 1\nline 2", end="draw")
    return TreeNode(HOSTILE, 5, 0.5, 1.0, 0.25, HOSTILE, children=[other, leaf])


def test_hostile_text_is_text():
    page = tree_page(HOSTILE, [(HOSTILE, HOSTILE)], HOSTILE, HOSTILE, hostile_tree())
    page.encode()
    read = Page(page)
    assert {"script", "img"}.isdisjoint(read.tags)
    shown = HOSTILE.replace("\ud800", r"\ud800").replace("\x00", r"\x00")
    assert "\x00" not in page and read.texts.count(shown) == 11
    names = {name for name, _ in read.attributes}
    assert not any(name.startswith("on") or name in ("src", "href") for name in names)
    plain = tree_page("", [], "", "", TreeNode("", 1, 0, 0, 0, ""))
    assert set(read.tags) == {*Page(plain).tags, "details", "summary", "b", "dt", "dd"}
    assert "default-src 'none'" in page and "http://" not in page and "https://" not in page


def test_what_a_row_shows():
    page = tree_page("title", [("seed", "7")], "notes", "step", hostile_tree())
    row = page[page.index('<div class="row leaf"') :].partition("\n")[0]
    assert '>b <b class="end">draw</b></span>' in row and "width:75.0%" in row
    assert ">3</span>" in row and ">50.0%</span>" in row and "-0.000" not in row
    assert '<div class="row leaf chosen" tabindex="0">' in page and "width:25.0%" in page
    assert "<dt>seed</dt><dd>7</dd>" in page and "<title>title</title>" in page
    assert ">notes</p>" in page and ">step</span>" in page


def test_a_deep_tree_is_a_page():
    root = TreeNode("0", 1, 0, 0, 0, "")
    for depth in range(inspect.MAX_DEPTH):
        root = TreeNode(str(depth), depth + 2, 0, 0, 0, "", children=[root])
    assert Page(tree_page("", [], "", "", root)).tags.count("details") == inspect.MAX_DEPTH
