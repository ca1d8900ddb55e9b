"""Subcommand compact: bring the rows of runs that are over into few large files."""

from __future__ import annotations

import dataclasses
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from lightning_lde.cli._arguments import PROJECT_VARIABLE, duration, open_lake, storage_options
from lightning_lde.cli._output import print_json
from lightning_lde.cli._show import size

if TYPE_CHECKING:
    from lightning_lde.lake import Compaction, LakeStorage


@click.command()
@click.argument("url", required=False)
@click.option("--project", envvar=PROJECT_VARIABLE, help="Only the files of this project.")
@click.option(
    "--silent-for", type=duration, metavar="DURATION", default="24h", show_default=True,
    help="Take runs that have been over, or silent, for so long; less than a day only where nothing is running.",
)  # fmt: skip
@click.option(
    "--grace", type=duration, metavar="DURATION", default="10m", show_default=True,
    help="Keep hot files for so long after their rows went into cold ones; the next compaction deletes them.",
)  # fmt: skip
@click.option(
    "--keep-versions", "kept_for", type=duration, metavar="DURATION", default="24h", show_default=True,
    help="Keep cold files for so long after others took their place.",
)  # fmt: skip
@click.option(
    "--watch",
    type=duration,
    metavar="DURATION",
    help="Do it again and again, with so long a pause between, until Ctrl-C.",
)
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def compact(
    url: str | None,
    project: str | None,
    silent_for: timedelta,
    grace: timedelta,
    kept_for: timedelta,
    watch: timedelta | None,
    form: str,
    options: tuple[str, ...],
) -> None:
    """Bring the rows of runs that are over from many small files into few large ones.

    It may be stopped and started again at any time, beside readers and writers. Of two at once one steps aside.
    """
    storage = open_lake(url, options).storage
    while True:
        done = storage.compact(
            project=project, silent_for=silent_for, grace=grace, kept_for=kept_for, tell=_tell_progress
        )  # fmt: skip
        if form == "json":
            print_json(dataclasses.asdict(done))
        else:
            _print(storage, done, grace, project)
        if watch is None:
            return
        time.sleep(watch.total_seconds())


def _tell_progress(done: Compaction) -> None:
    """Says on a terminal how far a compaction of more than one step is."""
    if done.files_left and sys.stderr.isatty():
        click.echo(f"{done.files_in:,} hot files are done, {done.files_left:,} are left", err=True)


def _print(storage: LakeStorage, done: Compaction, grace: timedelta, project: str | None) -> None:
    if done.was_busy:
        click.echo(f"another compaction of {storage.url} is at work, nothing was done")
        return
    if done.files_in:
        rows = ", ".join(f"{count:,} of {table}" for table, count in sorted(done.rows.items()))
        before, after = size(done.bytes_in), size(done.bytes_out)
        click.echo(f"{done.files_in:,} hot files ({before}) went into {done.files_out:,} cold files ({after})")
        click.echo(f"rows in these: {rows}")
    elif not done.files_left:
        click.echo("there is nothing to compact" + (f" of a project {project!r}" if project else ""))
    else:
        click.echo("no run has been over for long enough that was not compacted already")
    if done.files_left:
        click.echo(f"{done.files_left:,} hot files stay: their runs are not over, or not for long enough")
    if done.hot_deleted or done.vacuumed:
        click.echo(f"deleted: {done.hot_deleted:,} hot files, {done.vacuumed:,} files of former versions")
    elif done.files_in and grace:
        click.echo("the hot files are deleted by the next compaction, when nobody reads them any more")
    if done.published:
        click.echo(f"Delta tables brought up to date: {', '.join(sorted(done.published))}")
    elif not done.is_delta:
        click.echo("no Delta tables were made: they need pip install lightning-lde[delta], and a folder or a bucket")
