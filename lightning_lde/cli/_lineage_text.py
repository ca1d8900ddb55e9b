"""A lineage as two trees for a terminal: what a thing came from, and what came from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lightning_lde.cli._lineage_words import node_facts, node_id, node_words, relation_words
from lightning_lde.query import Lineage, Node, Step

_LONGEST_FACTS = 100


class _Line(NamedTuple):
    """One step as it is printed."""

    indent: str
    relation: str
    node: Node
    is_first: bool


def text_lines(lineage: Lineage) -> list[str]:
    """The lines of both trees, in columns.

    A thing that is reached in several ways is followed where it is nearest to the root; elsewhere its line says where
    to look.
    """
    root = lineage.root
    lines = ["  ".join(part for part in (node_words(root), node_id(root), node_facts(root)) if part)]
    trees = [
        ("comes from", list(_tree(lineage, lineage.upstream, upwards=True))),
        ("leads to", list(_tree(lineage, lineage.downstream, upwards=False))),
    ]
    shown = [line for _, tree in trees for line in tree]
    first = max((len(line.indent + line.relation) for line in shown), default=0)
    second = max((len(node_words(line.node)) for line in shown), default=0)
    third = max((len(node_id(line.node)) for line in shown), default=0)
    for title, tree in trees:
        if tree:
            lines += ["", title]
        places = {(line.node.kind, line.node.id): place for place, line in enumerate(tree) if line.is_first}
        for place, line in enumerate(tree):
            first_place = places.get((line.node.kind, line.node.id))
            facts = _shortened(node_facts(line.node)) if line.is_first else _elsewhere(first_place, place)
            start = f"{line.indent}{line.relation}"
            columns = f"{start:<{first}}  {node_words(line.node):<{second}}  {node_id(line.node):<{third}}  {facts}"
            lines.append(columns.rstrip())
    if len(lines) == 1:
        lines += ["", "nothing led to it, and it led to nothing"]
    if lineage.cut_off:
        lines += ["", f"{lineage.cut_off} more beyond this depth"]
    return lines


def _elsewhere(first: int | None, place: int) -> str:
    if first is None:
        return "(this is where it began)"
    return "(see above)" if first < place else "(see below)"


def _tree(lineage: Lineage, steps: tuple[Step, ...], *, upwards: bool) -> Iterator[_Line]:
    children: dict[int | None, list[int]] = {}
    for number, step in enumerate(steps):
        children.setdefault(step.before, []).append(number)
    # The step that reached a thing first is the one below which its own steps stand.
    firsts: dict[tuple[str, str], int] = {}
    for number, step in enumerate(steps):
        firsts.setdefault(step.node, number)
    # A stack and no recursion: a chain of runs may be longer than Python's.
    waiting = [(number, "", number == group[-1]) for group in [children.get(None, [])] for number in reversed(group)]
    while waiting:
        number, indent, is_last = waiting.pop()
        step = steps[number]
        node = lineage.nodes[step.node]
        is_first = firsts[step.node] == number and step.node != (lineage.root.kind, lineage.root.id)
        words = relation_words(step.edge.relation, upwards=upwards)
        yield _Line(f"{indent}{'└─' if is_last else '├─'} ", words, node, is_first)
        below = children.get(number, [])
        deeper = indent + ("   " if is_last else "│  ")
        waiting += [(child, deeper, child == below[-1]) for child in reversed(below)]


def _shortened(words: str) -> str:
    return words if len(words) <= _LONGEST_FACTS else words[: _LONGEST_FACTS - 1] + "…"
