"""Subcommand audit: what in a lake should not be there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lightning_lde.cli._arguments import open_lake, storage_options
from lightning_lde.cli._output import print_json, text
from lightning_lde.cli._progress import progress

if TYPE_CHECKING:
    from lightning_lde.audit import Finding, Skipped


@click.command()
@click.argument("url", required=False)
@click.option("--spool", is_flag=True, help="Look through what waits on this machine to be sent, too.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def audit(url: str | None, spool: bool, form: str, options: tuple[str, ...]) -> None:
    """Look for secrets in a lake, and for what its policy does not take: all texts of all tables, and files.

    Nothing that is found is shown: a fingerprint tells equal ones, a preview has their first characters. What the
    policy does not take may be older than the policy. The exit code is 1 where something was found, 0 where nothing
    was. Files that could not be looked at are counted on standard error.
    """
    from lightning_lde.audit import audit_lake, audit_spool
    from lightning_lde.recording import spool_root

    lake = open_lake(url, options)
    skipped: list[Skipped] = []

    def findings() -> Iterator[Finding]:
        with progress() as tell:
            yield from audit_lake(
                lake.storage, tell=lambda done, total: tell(f"{done:,} of {total:,} files"), skip=skipped.append
            )
        if spool:
            yield from audit_spool(Path(spool_root()), skip=skipped.append)

    counts = {"secret": 0, "policy": 0}
    kept = []
    for found in findings():
        counts[found.reason] += 1
        if form == "json":
            kept.append(found.as_dict())
        else:
            run = found.run_id or "-"
            words = (found.table, run, found.column, found.kind, found.fingerprint, found.preview, found.file)
            click.echo("  ".join(map(text, words)))
    if form == "json":
        print_json({"lake": lake.url, "findings": kept, "skipped": [each.as_dict() for each in skipped]})
    else:
        _say_counts(counts, lake.url)
    _say_skipped(skipped)
    sys.exit(1 if any(counts.values()) else 0)


def _say_counts(counts: dict[str, int], url: str) -> None:
    if counts["secret"]:
        click.echo(f"{counts['secret']} of what looks like secrets in {url}")
    if counts["policy"]:
        click.echo(f"{counts['policy']} of what the policy does not take in {url}; it may be older than the policy")
    if not any(counts.values()):
        click.echo(f"nothing found in {url}")


def _say_skipped(skipped: list[Skipped]) -> None:
    by_reason: dict[str, list[str]] = {}
    for each in skipped:
        by_reason.setdefault(each.reason, []).append(each.file)
    for reason, files in sorted(by_reason.items()):
        click.echo(f"not looked at, {reason}: {len(files)}, such as {text(files[0])}", err=True)
