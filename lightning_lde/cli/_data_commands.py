"""Subcommands over data sets: data history, data impact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lightning_lde.cli._arguments import open_lake, output_format, split_words, storage_options
from lightning_lde.cli._output import print_lines, print_table, text

if TYPE_CHECKING:
    from lightning_lde.query import DataUse, DataVersion


@click.group()
def data() -> None:
    """Ask for the versions of a data set, and for what depends on one."""


@data.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] NAME")
@click.option("--samples/--no-samples", default=True, help="Whether to say which samples came and went.")
@output_format
@storage_options
def history(words: tuple[str, ...], samples: bool, form: str, options: tuple[str, ...]) -> None:
    """Show the contents that the data set NAME had over time, what changed, and which runs used which."""
    from lightning_lde.cli._data_tables import history_table, short_history_table
    from lightning_lde.query import data_history

    url, name = split_words(words, "NAME")
    versions = data_history(open_lake(url, options), name, by_sample=samples)
    if form != "table":
        print_table(history_table(versions), form)
        return
    print_table(short_history_table(versions), form)
    _print_samples(versions)
    _print_uses(versions)


@data.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] DATASET_ID")
@output_format
@storage_options
def impact(words: tuple[str, ...], form: str, options: tuple[str, ...]) -> None:
    """Show all that depends on a data set: runs, weights, files, evaluations, also in runs that went on from others.

    DATASET_ID is the id, the beginning of it, or a name that the data set has had with one content only.
    """
    from lightning_lde.cli._data_tables import impact_table, short_impact_table
    from lightning_lde.query import data_impact

    url, name = split_words(words, "DATASET_ID")
    dataset, affected = data_impact(open_lake(url, options), name)
    print_table(short_impact_table(affected) if form == "table" else impact_table(affected), form)
    counts: dict[str, int] = {}
    for one in affected:
        counts[one.node.kind] = counts.get(one.node.kind, 0) + 1
    found = ", ".join(f"{count} {_COUNTED[kind][count > 1]}" for kind, count in counts.items()) or "nothing"
    # Standard output is the table alone, so that a program can read it.
    click.echo(f"{found} with something of data set {text(dataset.label)} {dataset.id} in it", err=True)


_COUNTED = {
    "run": ("run", "runs"),
    "weights": ("set of weights", "sets of weights"),
    "artifact": ("file", "files"),
    "evaluation": ("evaluation", "evaluations"),
    "embeddings": ("set of embeddings", "sets of embeddings"),
    "diversity": ("diversity", "diversities"),
    "dataset": ("derived data set", "derived data sets"),
}


def _print_samples(versions: list[DataVersion]) -> None:
    from lightning_lde.cli._data_tables import sample_lines, unknown_samples

    for version in versions:
        if lines := sample_lines(version, versions):
            click.echo(f"\nsamples of version {version.number}")
            print_lines([(text(name), text(words)) for name, words in lines])
    if unknown := unknown_samples(versions):
        # Standard output is the answer; this is why there is not more of it.
        click.echo(unknown, err=True)


def _print_uses(versions: list[DataVersion]) -> None:
    for version in versions:
        if version.uses:
            click.echo(f"\nversion {version.number} was used by")
            print_lines([(text(use.name or ""), _use(use)) for use in version.uses])


def _use(use: DataUse) -> str:
    return f"{use.run_id}  {text(use.first_used)}  {', '.join(use.used_as)}"
