"""Subcommands over any lake: init, show, sql, sync."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lightning_lde.cli._arguments import open_lake, output_format, parsed_options, split_words, storage_options
from lightning_lde.cli._output import print_json, print_table


@click.command()
@click.argument("url", required=False)
@storage_options
def init(url: str | None, options: tuple[str, ...]) -> None:
    """Make a lake at URL. One that is there stays as it is."""
    lake = open_lake(url, options)
    made = lake.storage.initialise()
    click.echo(f"{'made a lake at' if made else 'there is a lake already at'} {lake.url}")


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] RUN")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def show(words: tuple[str, ...], form: str, options: tuple[str, ...]) -> None:
    """Show all that is known of RUN: an id, the beginning of one, or a unique name."""
    from lightning_lde.cli._show import print_run
    from lightning_lde.query import run_details

    url, run = split_words(words, "RUN")
    details = run_details(open_lake(url, options), run)
    if form == "json":
        print_json(details.as_dict())
    else:
        print_run(details)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] QUERY")
@output_format
@storage_options
def sql(words: tuple[str, ...], form: str, options: tuple[str, ...]) -> None:
    """Run QUERY, in DuckDB's SQL, over the lake's tables."""
    url, query = split_words(words, "QUERY")
    print_table(open_lake(url, options).sql(query), form)


@click.command()
@click.argument("spool", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--without-known-secrets",
    "also_unchecked",
    is_flag=True,
    help="Store checkpoints and files although secrets that the run had in its variables are not set here.",
)
@storage_options
def sync(spool: Path | None, options: tuple[str, ...], *, also_unchecked: bool) -> None:
    """Send what runs that died, or never reached their lake, left on this machine.

    SPOOL is the folder of all spools; without it the one of this user. Runs that are alive are left alone. A file
    waits where a variable that held a secret while it was written is not set here: the secret could not be found.
    """
    from lightning_lde.lake import LakeStorage
    from lightning_lde.recording import spool_root, sync_spools

    root = spool or spool_root()
    failed = rows = 0

    def opened(url: str, kept: dict[str, Any]) -> LakeStorage:
        return LakeStorage(url, {**kept, **parsed_options(options)})

    for outcome in sync_spools(root, opened, also_unchecked=also_unchecked):
        rows += outcome.rows
        failed += outcome.error is not None
        what = f"{outcome.rows} rows" if outcome.rows or outcome.error is None else "not sent"
        if outcome.is_erased:
            what = "deleted unsent, the run was erased"
        if outcome.error is not None:
            what += f"{', not all' if outcome.rows else ''}: {' '.join(outcome.error.split())}"
        click.echo(f"run {outcome.run_id or outcome.path} to {outcome.lake or '?'}: {what}")
    click.echo(f"sent {rows} rows from {root}" if rows or failed else f"nothing to send in {root}")
    if failed:
        sys.exit(2)
