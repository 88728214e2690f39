"""The tree of one search of a trained run, with its text, for a page to show.

Letters: N simulations, A actions of a node.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath

from rlsearch.arena.notation import Notation, make_notation
from rlsearch.arena.opening import open_game
from rlsearch.arena.play import game_keys
from rlsearch.environments.base import Environment, finished
from rlsearch.keys import folded
from rlsearch.measuring.opened import OpenedRun, open_run
from rlsearch.measuring.solve import contestant_for
from rlsearch.pages.tree_page import MAX_DEPTH, MAX_NODES, TreeNode, tree_page
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_text
from rlsearch.runs.opening import read_run
from rlsearch.search.mcts import Tree
from rlsearch.search.moves import search_moves
from rlsearch.search.search import search
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.value_head import ValueHead

GAME_NOTES = (
    "Q and network are values to who made the move: the mean of the simulations through it, and "
    "what the network alone says. At the root they are to who moves there. Highlighted: the move "
    "that is played, and behind it the most visited ones. Point at a move to see its board; click "
    "to keep it."
)
LANGUAGE_NOTES = (
    "Q is the mean value of the simulations through a step, network what the critic alone says of "
    "it, prior the policy's probability of the step. Highlighted: the way to the best of its "
    "solutions. Right and wrong are known to this page, not to the search; a step drawn before "
    "is one that a sibling already is. Point at a step to see the solution so far."
)


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question about one search."""

    # Of a game the moves from its start, as they are typed in play; of a language task a problem.
    problem: str
    simulations: int | None = None  # of a game; None: those of the config's `play`
    budget: int | None = None  # of a language task, in mean sampled solutions; None: 16
    policy: str | None = None  # of a language task; None: the run's default one
    seed: int = 0  # of the search, and of chance in the game; see `play`


def inspect_run(
    run_dir: str, asked: Asked, out: str = "", data_dir: str = "", code: str = ""
) -> dict[str, Any]:
    """Searches once and writes the tree as a page; returns its path and what is on it.

    Args:
        out: the page; empty for RUN/evaluations/tree.html.

    Raises:
        FileNotFoundError, ValueError: as `read_run`; or if the problem cannot be read, a move in
            it is not legal, the game is over behind it, or an option is of the other kind.
    """
    directory, config, _ = read_run(run_dir, code)
    if config.task is None:
        others = {"budget": asked.budget, "policy": asked.policy, "data_dir": data_dir}
        for name, value in others.items():
            if value:
                raise ValueError(f"{name} is {value!r}: it is for language, and this is self-play")
        facts, root, num_nodes = _board_tree(run_dir, asked, code)
        notes, unit = GAME_NOTES, "move"
    else:
        if asked.simulations:
            raise ValueError(f"simulations is {asked.simulations}: language takes a budget instead")
        facts, root, num_nodes = _language_tree(open_run(run_dir, data_dir, code), asked)
        notes, unit = LANGUAGE_NOTES, "step"
    shown = _count(root)
    if shown < num_nodes:
        notes += (
            f" {shown} of {num_nodes} nodes are shown: those visited most, "
            f"at most {MAX_NODES}, and no deeper than {MAX_DEPTH}."
        )
    title = f"{config.name}: search tree"
    header = [(name.replace("_", " "), str(value) or "start") for name, value in facts.items()]
    path = epath.Path(out) if out else directory.evaluations / "tree.html"
    write_text(path, tree_page(title, header, notes, unit, root))
    return {"page": str(path), "nodes": num_nodes, "shown": shown, **facts}


def _board_tree(run_dir: str, asked: Asked, code: str) -> tuple[dict[str, Any], TreeNode, int]:
    """Facts for the header, the root, and how many nodes the tree has."""
    problem, seed = asked.problem, asked.seed
    opened = open_game(run_dir, code)
    environment, model = opened.environment, opened.model
    notation = make_notation(environment)
    state, beginner = play_moves(environment, notation, problem, seed)
    checkpoint_step = opened.steps()[-1]
    params = opened.params(checkpoint_step)
    settings = opened.search
    if asked.simulations:
        settings = dataclasses.replace(settings, num_simulations=asked.simulations)

    @jax.jit
    def compute(params, state, key):
        states = jax.tree.map(lambda x: x[None], state)
        result = search_moves(params, key[None], states, environment, model, settings)
        return jax.tree.map(lambda x: x[0], (result.action, result.tree))

    _, key = game_keys(seed, int(state.moves))
    action, tree = jax.tree.map(np.asarray, compute(params, state, key))
    states = tree.embeddings
    over = states.terminated | states.truncated
    kept, num_nodes = select_nodes(tree, over)
    states = jax.tree.map(lambda x: x[kept], states)
    seen = np.asarray(jax.jit(jax.vmap(environment.observe))(states))
    solitary = bool((states.player == beginner).all())  # nobody else moves: nothing is won or lost
    place = {int(index): row for row, index in enumerate(kept)}

    def describe(index: int) -> dict[str, Any]:
        row = place[index]
        parent, move = int(tree.parents[index]), int(tree.action_from_parent[index])
        end = ""
        if states.truncated[row]:
            end = "broken off"
        elif states.terminated[row]:
            reward = float(tree.children_rewards[parent, move])
            end = "win" if reward > 0 else "loss" if reward < 0 else "draw"
            end = "end" if solitary else end
        board = notation.draw(seen[row], int(states.player[row]) == beginner)
        return {
            "label": notation.moves[move] if index else problem.strip() or "start",
            "picture": board,
            "prior": _prior(tree, parent, move),
            "end": end,
        }

    facts = {
        "run": str(opened.directory.path),
        "checkpoint_step": checkpoint_step,
        "problem": problem.strip(),
        "search": settings.policy,
        "num_simulations": settings.num_simulations,
        "seed": seed,
        "move": notation.moves[int(action)],
    }
    chosen = main_line(tree, int(action), over)
    return facts, build_tree(tree, kept, over, chosen, describe), num_nodes


def play_moves(
    environment: Environment, notation: Notation, text: str, seed: int
) -> tuple[Any, int]:
    """The state behind the moves in `text`, and who began.

    Raises:
        ValueError: if a move is not legal, or the game is over.
    """
    state = environment.reset(jax.random.key(seed))
    beginner, step = int(state.player), jax.jit(environment.step)
    said = f"problem is {text[:80]!a}"
    for number, word in enumerate(re.findall(r"[^\s,]+", text), start=1):
        if finished(state):
            raise ValueError(f"{said}: the game is over before its move {number}, {word[:20]!a}")
        action = notation.read(word)
        if action is None or not state.legal_action_mask[action]:
            legal = notation.names(np.asarray(state.legal_action_mask))
            raise ValueError(
                f"{said}: its move {number}, {word[:20]!a}, is not legal there: legal are {legal}"
            )
        state = step(state, action, game_keys(seed, number - 1)[0])
    if finished(state):
        raise ValueError(f"{said}: the game is over behind it, and there is nothing to search")
    return state, beginner


def _language_tree(opened: OpenedRun, asked: Asked) -> tuple[dict[str, Any], TreeNode, int]:
    """Does what `_board_tree` does; the tree is the first of those from which `solve` takes its
    answer."""
    task, budget = opened.task, asked.budget or 16
    prompt = task.parse_problem(asked.problem)
    contestant, prompts = contestant_for(opened, prompt, asked.policy)
    keys = row_keys(jax.random.key(asked.seed), 1)
    first_keys = folded(keys, 0)  # as `TreeSearch` draws them
    settings = TreeSearch().search_config(opened.policy, contestant.budget(budget))
    if settings is None:
        raise ValueError(f"budget is {budget}: it pays for no search, only for one answer")

    @jax.jit
    def compute(writer):
        root = writer.start(prompts)
        tree = search(writer, ValueHead(), root, Memory(), first_keys, settings).grown.tree
        nodes = tree.embeddings
        done = nodes.line.finished(writer.format)
        kept = (nodes.line.tokens, nodes.step.tokens, nodes.step.prior_log_prob)
        # The keys and values that a node holds are most of a tree.
        tree = tree.replace(embeddings=(*kept, done))
        return jax.tree.map(lambda x: x[0], tree)

    tree = jax.tree.map(np.asarray, compute(contestant.writer))
    solutions, steps, log_probs, done = tree.embeddings
    kept, num_nodes = select_nodes(tree, done)
    # As `TreeSearch` chooses: finished solutions first, and among them by the critic's value.
    first_done = done & ~done[tree.parents]
    best = int(np.argmax(tree.raw_values + 2.0 * first_done))
    chosen = {0}
    while best:
        chosen.add(best)
        best = int(tree.parents[best])

    def describe(index: int) -> dict[str, Any]:
        solution, end = task.tokenizer.decode(solutions[index].tolist()), ""
        if done[index]:
            end = {True: "right", False: "wrong", None: ""}[task.check(prompt, solution)]
        label = task.tokenizer.decode(steps[index].tolist()).strip()
        return {
            "label": label or "(nothing)" if index else prompt.strip(),
            "picture": f"{prompt.strip()}\n{solution}",
            "prior": float(np.exp(log_probs[index])),
            "end": end,
        }

    facts = {
        "run": opened.path,
        "policy": contestant.name,
        "checkpoint_step": contestant.step,
        "problem": prompt.strip(),
        "budget": budget,
        "num_simulations": settings.num_simulations,
        "num_candidates": settings.num_candidates,
        "seed": asked.seed,
    }
    return facts, build_tree(tree, kept, done, chosen, describe), num_nodes


def select_nodes(tree: Tree, over: np.ndarray) -> tuple[np.ndarray, int]:
    """The nodes that a page shows, ascending, and how many there were to show.

    What a search visits behind an end is the end again, and no node.

    Args:
        tree: of one root, without the batch axis, on the host.
        over: `[N + 1]` bool, nodes in which it ends.
    """
    depth = np.full(len(tree.parents), -1)
    depth[0] = 0
    for index in range(1, len(depth)):  # a parent is made before its children
        parent = tree.parents[index]
        if parent >= 0 and depth[parent] >= 0 and not over[parent]:
            depth[index] = depth[parent] + 1
    # A parent has more visits than its child, so that no node is kept without it.
    order = np.argsort(-tree.node_visits, kind="stable")
    shown = order[(depth[order] >= 0) & (depth[order] <= MAX_DEPTH)][:MAX_NODES]
    return np.sort(shown), int((depth >= 0).sum())


def build_tree(
    tree: Tree,
    kept: np.ndarray,
    over: np.ndarray,
    chosen: set[int],
    describe: Callable[[int], dict[str, Any]],
) -> TreeNode:
    """The root, with all nodes below it that are kept.

    Args:
        tree: as of `select_nodes`; likewise `over`.
        kept: `[n]` int, ascending, the nodes to show.
        chosen: the nodes of the principal variation.
        describe: the label, picture, prior and end of a node.
    """
    nodes: dict[int, TreeNode] = {}
    for index in kept.tolist():
        parent, action = int(tree.parents[index]), int(tree.action_from_parent[index])
        value, raw_value = float(tree.node_values[index]), float(tree.raw_values[index])
        if index:  # across the edge: the reward, and the sign where another player chose
            reward = float(tree.children_rewards[parent, action])
            discount = float(tree.children_discounts[parent, action])
            value, raw_value = reward + discount * value, reward + discount * raw_value
        node = TreeNode(
            visits=int(tree.node_visits[index]),
            value=value,
            raw_value=raw_value,
            chosen=index in chosen,
            hidden=0 if over[index] else int((tree.children_index[index] >= 0).sum()),
            **describe(index),
        )
        nodes[index] = node
        if index:
            nodes[parent].children.append(node)
            nodes[parent].hidden -= 1
    for node in nodes.values():
        node.children.sort(key=lambda child: (-child.visits, -child.value))
    return nodes[0]


def main_line(tree: Tree, action: int, over: np.ndarray) -> set[int]:
    """The root, the node behind `action`, and the most visited ones behind that."""
    line, index = {0}, int(tree.children_index[0, action])
    while index >= 0:
        line.add(index)
        if over[index]:
            break
        visits = tree.children_visits[index]
        values = tree.children_rewards[index] + (
            tree.children_discounts[index] * tree.children_values[index]
        )
        best = np.lexsort((-values, -visits))[0]
        index = int(tree.children_index[index, best])
    return line


def _prior(tree: Tree, parent: int, action: int) -> float:
    if parent < 0:
        return 1.0
    logits = tree.children_prior_logits[parent].astype(np.float64)
    weights = np.exp(logits - logits.max())
    return float(weights[action] / weights.sum())


def _count(root: TreeNode) -> int:
    return 1 + sum(map(_count, root.children))
