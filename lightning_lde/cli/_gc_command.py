"""Subcommand gc: delete files that no row of a lake refers to any more."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from lightning_lde.cli._arguments import duration, open_lake, storage_options
from lightning_lde.cli._output import print_json
from lightning_lde.cli._progress import progress
from lightning_lde.cli._show import size

if TYPE_CHECKING:
    from lightning_lde.lake import Collected


@click.command()
@click.argument("url", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--older-than", type=duration, metavar="DURATION", default="7d", show_default=True,
    help="Leave files alone that were written since: the rows of their run may not have come yet.",
)  # fmt: skip
@click.option(
    "--condemned-for", type=duration, metavar="DURATION", default="24h", show_default=True,
    help="Delete what an earlier collection found so long ago.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def gc(
    url: str | None,
    older_than: timedelta,
    condemned_for: timedelta,
    form: str,
    options: tuple[str, ...],
    *,
    dry_run: bool,
) -> None:
    """Delete objects and chunks that no row refers to: what was left by uploads that broke off, or by erased runs.

    What it finds is deleted by the next collection, a day later. Runs may go on meanwhile.
    """
    storage = open_lake(url, options).storage
    with progress("looking through rows and objects"):
        done = storage.collect(older_than=older_than, condemned_for=condemned_for, dry_run=dry_run)
    if form == "json":
        print_json({"dry_run": dry_run, **dataclasses.asdict(done)})
    else:
        _print(done, dry_run=dry_run)


def _print(done: Collected, *, dry_run: bool) -> None:
    click.echo(f"{_files(done.kept, done.kept_bytes)} that rows refer to")
    if done.young:
        click.echo(f"{_files(done.young, done.young_bytes)} without a row, too young to tell")
    if done.waiting:
        what = "to be deleted later" if dry_run else "condemned: a later `lde gc` deletes them"
        click.echo(f"{_files(done.waiting, done.waiting_bytes)} without a row, {what}")
    click.echo(f"{_files(done.deleted, done.deleted_bytes)} {'would be ' if dry_run else ''}deleted")


def _files(count: int, size_bytes: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'} ({size(size_bytes)})"
