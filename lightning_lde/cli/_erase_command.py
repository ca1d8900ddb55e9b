"""Subcommand erase: remove runs, a data set, a person or a text from every file of a lake."""

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
    from lightning_lde.erasing import Erased
    from lightning_lde.lake import Preview, Request

_MOST_RUNS = 5


@click.command()
@click.argument("url", required=False)
@click.option("--run", "runs", multiple=True, help="A run: an id, the beginning of one, or a unique name; repeat it.")
@click.option("--dataset", "datasets", multiple=True, help="A data set, and all runs on it; repeat it.")
@click.option("--user", "users", multiple=True, help="A person by name or e-mail address; repeat it for one person.")
@click.option("--match", metavar="TEXT", help="Every row, run and object in which TEXT stands.")
@click.option("--dry-run", is_flag=True, help="Only show what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also runs that are running; what they send later is given up.")
@click.option(
    "--silent-for", type=duration, metavar="DURATION", default="24h", show_default=True,
    help="How long other runs that never ended must have been silent where their files change.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def erase(
    url: str | None,
    runs: tuple[str, ...],
    datasets: tuple[str, ...],
    users: tuple[str, ...],
    match: str | None,
    dry_run: bool,
    yes: bool,
    force: bool,
    silent_for: timedelta,
    form: str,
    options: tuple[str, ...],
) -> None:
    """Erase for good: from rows, objects, former versions, logs, and the spools of this machine.

    What other runs need stays, without the name of what is erased. A receipt in the lake says when and how much, in
    hashes. It cannot be undone.
    """
    from lightning_lde import erasing

    lake = open_lake(url, options)
    request = erasing.request_of(lake, runs=runs, datasets=datasets, users=users, match=match)
    if dry_run or not yes:
        with progress("looking through rows and objects"):
            preview = lake.storage.preview_erase(request, silent_for=silent_for)
        if dry_run and form == "json":
            print_json(dataclasses.asdict(preview))
            return
        _print_preview(preview, request)
        if dry_run:
            return
        click.confirm("Erase this for good?", abort=True)
    with progress("erasing"):
        done = erasing.erase(lake, request, force=force, silent_for=silent_for)
    if form == "json":
        receipt = None if done.receipt is None else {"id": done.receipt.erasure_id, **done.receipt.as_dict()}
        print_json({"receipt": receipt, "spool_files": done.spool_files, "left": done.left})
        return
    _print(done)


def _print_preview(preview: Preview, request: Request) -> None:
    if preview.is_empty and request.kind != "run":
        click.echo("there is nothing to erase")
        return
    few = ", ".join(preview.runs[:_MOST_RUNS]) + (", …" if len(preview.runs) > _MOST_RUNS else "")
    click.echo(f"runs     {len(preview.runs):,}" + (f": {few}" if few else ""))
    click.echo(f"rows     {_counts(preview.rows) or 'none'}")
    click.echo(f"objects  {preview.objects:,} files, {size(preview.object_bytes)}, that nothing else refers to")
    if preview.changed:
        click.echo(f"changed  {_counts(preview.changed)}: they stay, without the name of what goes")
    for writer, why in preview.waits_for.items():
        click.echo(f"waits    for {writer}, which {why}")
    if preview.unread:
        click.echo(f"unread   {len(preview.unread):,} files of objects are damaged, encrypted or away")


def _print(done: Erased) -> None:
    if done.receipt is None:
        click.echo("there was nothing to erase in the lake")
    else:
        receipt = done.receipt
        rows = {table: words["count"] for table, words in receipt.rows.items()}
        click.echo(f"erased {len(receipt.runs):,} runs; rows: {_counts(rows) or 'none'}")
        click.echo(f"objects: {receipt.objects['count']:,} files, {size(receipt.objects['bytes'])}")
        click.echo(f"receipt: {receipt.path}")
        for warning in receipt.warnings:
            click.echo(f"warning: {warning}", err=True)
    if done.spool_files:
        click.echo(f"deleted {done.spool_files:,} files of this machine's spools")
    for path in done.left:
        click.echo(f"warning: {path} holds the text, and waits to be sent by its process", err=True)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} of {table}" for table, count in sorted(counts.items()))
