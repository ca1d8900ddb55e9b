"""Subcommand lineage: what a thing came from, and what came from it."""

from __future__ import annotations

import click

from lightning_lde.cli._arguments import open_lake, split_words, storage_options
from lightning_lde.cli._output import print_json


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] ID")
@click.option(
    "--direction",
    type=click.Choice(("up", "down", "both")),
    default="both",
    show_default=True,
    help="up: what it came from; down: what came from it.",
)
@click.option("--depth", type=click.IntRange(min=1), help="Most steps away from ID; without it there is no limit.")
@click.option(
    "--format", "form", type=click.Choice(("text", "json", "dot", "mermaid")), default="text", show_default=True
)
@storage_options
def lineage(words: tuple[str, ...], direction: str, depth: int | None, form: str, options: tuple[str, ...]) -> None:
    """Show where ID came from and what came from it, from data through runs and weights to evaluations.

    ID is that of a run, data set, data set configuration, pipeline, configuration, file, environment, code or weights,
    or the beginning of one, or the unique name of a run. --format dot is for Graphviz, mermaid for Markdown.
    """
    from lightning_lde.cli._lineage_drawing import dot, mermaid
    from lightning_lde.cli._lineage_text import text_lines
    from lightning_lde.query import lineage as lineage_of

    url, name = split_words(words, "ID")
    found = lineage_of(open_lake(url, options), name, direction=direction, depth=depth)
    if form == "json":
        print_json(found.as_dict())
    elif form == "text":
        click.echo("\n".join(text_lines(found)))
    else:
        click.echo(dot(found) if form == "dot" else mermaid(found), nl=False)
