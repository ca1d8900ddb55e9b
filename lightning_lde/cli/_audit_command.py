"""Subcommand audit: what in a lake should not be there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from lightning_lde.cli._arguments import open_lake, storage_options
from lightning_lde.cli._output import print_json, text

_QUIET_S = 2.0


@click.command()
@click.argument("url", required=False)
@click.option("--spool", is_flag=True, help="Look through what waits on this machine to be sent, too.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def audit(url: str | None, spool: bool, form: str, options: tuple[str, ...]) -> None:
    """Look for secrets in a lake: all texts of all tables, and files that are text or checkpoints.

    Secrets are never shown: a fingerprint tells equal ones, a preview has their first characters. The exit code is 1
    where something was found, 0 where nothing was.
    """
    from lightning_lde.audit import Finding, audit_lake, audit_spool
    from lightning_lde.recording import spool_root

    lake = open_lake(url, options)

    def findings() -> Iterator[Finding]:
        yield from audit_lake(lake.storage, tell=_progress())
        if spool:
            yield from audit_spool(Path(spool_root()))

    count = 0
    kept = []
    for found in findings():
        count += 1
        if form == "json":
            kept.append(found.as_dict())
        else:
            run = found.run_id or "-"
            words = (found.table, run, found.column, found.kind, found.fingerprint, found.preview, found.file)
            click.echo("  ".join(map(text, words)))
    if form == "json":
        print_json({"lake": lake.url, "findings": kept})
    else:
        click.echo(f"{count} of what looks like secrets in {lake.url}" if count else f"nothing found in {lake.url}")
    sys.exit(1 if count else 0)


def _progress() -> Callable[[int, int], None] | None:
    """Says on a terminal how far a long scan is."""
    if not sys.stderr.isatty():
        return None
    began = shown = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - began > _QUIET_S and now - shown > 0.5:
            shown = now
            click.echo(f"\r{done} of {total} files", nl=done == total, err=True)

    return tell
