"""Subcommand migrate: bring a lake to the newest version of the format."""

from __future__ import annotations

import click

from lightning_lde.cli._arguments import open_lake, storage_options
from lightning_lde.cli._output import print_json


@click.command()
@click.argument("url", required=False)
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def migrate(url: str | None, form: str, options: tuple[str, ...]) -> None:
    """Bring a lake to the newest version of the format. Trainings and readers may go on meanwhile.

    Lakes of older versions are read and written as they are. Once a lake has the newest version, programs that do not
    know it refuse the lake instead of taking a part of it for the whole.
    """
    lake = open_lake(url, options)
    before, after = lake.storage.migrate()
    if form == "json":
        print_json({"lake": lake.url, "from": before, "to": after})
    elif before == after:
        click.echo(f"{lake.url} has version {after} of the format, the newest: nothing was done")
    else:
        click.echo(f"{lake.url}: version {before} of the format -> {after}")
