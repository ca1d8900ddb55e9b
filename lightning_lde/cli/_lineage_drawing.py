"""A lineage as a drawing: in Graphviz's language and in Mermaid's, whatever stands in names."""

from __future__ import annotations

from lightning_lde.cli._lineage_words import kind_words, node_facts, node_id, relation_words
from lightning_lde.cli._output import text
from lightning_lde.query import Edge, Lineage, Node

_LONGEST_LINE = 60

_SHAPES = {
    "run": "box",
    "dataset": "cylinder",
    "dataset_config": "folder",
    "weights": "hexagon",
    "artifact": "note",
    "evaluation": "ellipse",
    "embeddings": "ellipse",
}
_OTHER_SHAPE = "plaintext"

_MERMAID_SHAPES = {
    "run": ("[", "]"),
    "dataset": ("[(", ")]"),
    "dataset_config": ("[/", "/]"),
    "weights": ("{{", "}}"),
    "artifact": (">", "]"),
    "evaluation": ("([", "])"),
    "embeddings": ("([", "])"),
}
_OTHER_MERMAID_SHAPE = ("[", "]")
# All other characters are written as numbers: Mermaid gives many of them a meaning, and passes labels on as HTML.
_PLAIN = frozenset(" -_./:,=+")


def dot(lineage: Lineage) -> str:
    r"""A directed graph in Graphviz's language, from left to right.

    Source: https://graphviz.org/doc/info/lang.html; in labels ``\`` and ``&`` begin escapes, so these are escaped too.
    """
    numbers = _numbers(lineage)
    root = (lineage.root.kind, lineage.root.id)
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [fontname="Helvetica"];', '  edge [fontname="Helvetica"];']
    for key, node in lineage.nodes.items():
        label = "\\n".join(_dot_escaped(line) for line in _label_lines(node))
        bold = ", style=bold" if key == root else ""
        lines.append(f'  n{numbers[key]} [label="{label}", shape={_SHAPES.get(node.kind, _OTHER_SHAPE)}{bold}];')
    for edge in _arrows(lineage):
        words = _dot_escaped(relation_words(edge.relation, upwards=False))
        lines.append(f'  n{numbers[edge.source]} -> n{numbers[edge.target]} [label="{words}"];')
    return "\n".join([*lines, "}", ""])


def mermaid(lineage: Lineage) -> str:
    """A flowchart in Mermaid's language, from left to right.

    Source: https://mermaid.js.org/syntax/flowchart.html, entity codes.
    """
    numbers = _numbers(lineage)
    lines = ["flowchart LR"]
    for key, node in lineage.nodes.items():
        begin, end = _MERMAID_SHAPES.get(node.kind, _OTHER_MERMAID_SHAPE)
        label = "<br/>".join(_mermaid_escaped(line) for line in _label_lines(node))
        lines.append(f'  n{numbers[key]}{begin}"{label}"{end}')
    for edge in _arrows(lineage):
        words = _mermaid_escaped(relation_words(edge.relation, upwards=False))
        lines.append(f'  n{numbers[edge.source]} -->|"{words}"| n{numbers[edge.target]}')
    lines.append(f"  style n{numbers[lineage.root.kind, lineage.root.id]} stroke-width:3px")
    return "\n".join([*lines, ""])


def _numbers(lineage: Lineage) -> dict[tuple[str, str], int]:
    return {key: number for number, key in enumerate(lineage.nodes)}


def _arrows(lineage: Lineage) -> list[Edge]:
    """Each arrow once, however many segments it stands for."""
    return list({(edge.source, edge.relation, edge.target): edge for edge in lineage.edges()}.values())


def _label_lines(node: Node) -> list[str]:
    lines = (f"{kind_words(node.kind)} {text(node.label)}", node_id(node), node_facts(node))
    return [line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…" for line in lines if line]


def _dot_escaped(words: str) -> str:
    r"""Text within a quoted label.

    Example:
        >>> print(_dot_escaped('a "b" \\N &lt;'))
        a \"b\" \\N &amp;lt;
    """
    return words.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _mermaid_escaped(words: str) -> str:
    """Text within a quoted label.

    Example:
        >>> _mermaid_escaped('best "run" <b>[1]')
        'best #34;run#34; #60;b#62;#91;1#93;'
    """
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in words)
