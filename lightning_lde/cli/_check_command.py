"""Subcommand check: whether everything in a lake is there and whole, and repairs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lightning_lde.cli._arguments import open_lake, storage_options
from lightning_lde.cli._output import print_json, text
from lightning_lde.cli._progress import progress
from lightning_lde.cli._show import size

if TYPE_CHECKING:
    from lightning_lde.lake import CheckReport

_MARGIN = " " * 21


@click.command()
@click.argument("url", required=False)
@click.option("--deep", is_flag=True, help="Read everything: all pages of all files, all bytes of all objects.")
@click.option(
    "--repair", is_flag=True, help="Do about each finding what can be done without losing anything; see docs/check.md."
)
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def check(url: str | None, form: str, options: tuple[str, ...], *, deep: bool, repair: bool) -> None:
    """Verify a lake: each file, and each thing that a row names. Writers and readers may go on meanwhile.

    The exit code is 0 where everything is as it should be, 1 where something was found that was not repaired, and 2
    where the lake could not be looked at.
    """
    storage = open_lake(url, options).storage
    with progress() as tell:
        report = storage.check(
            deep=deep, repair=repair, tell=lambda what, done, total: tell(f"{done:,} of {total:,} {what}")
        )
    if form == "json":
        print_json(report.as_dict())
    else:
        _print(report, storage.url, repair=repair)
    sys.exit(0 if report.is_fine else 1)


def _print(report: CheckReport, url: str, *, repair: bool) -> None:
    for one in report.findings:
        click.echo(f"{one.severity:<7}  {one.kind:<10}  {text(one.path)}")
        click.echo(f"{_MARGIN}{text(one.message)}")
        if one.repair:
            how = "" if not repair else "done: " if one.is_repaired else "not done: "
            click.echo(f"{_MARGIN}repair {how}{text(one.repair)}")
    words = ", ".join(f"{n} {severity}{'s' if n != 1 else ''}" for severity, n in _counts(report).items() if n)
    how = "all of it was read" if report.is_deep else "`--deep` reads all of it"
    click.echo(
        f"{url}: {report.files:,} files of tables with {report.rows:,} rows, {report.objects:,} objects, "
        f"{size(report.bytes)}; {how}; {report.seconds:.1f} s"
    )
    if report.archived:
        click.echo(f"{report.archived:,} objects lie in cold roots and were counted only")
    for skipped in report.skipped:
        click.echo(f"not looked at: {skipped}", err=True)
    if not report.findings:
        click.echo("everything is as it should be")
        return
    repaired = sum(one.is_repaired for one in report.findings)
    possible = sum(bool(one.repair) for one in report.findings)
    if repair:
        click.echo(f"{words}; {repaired:,} of {len(report.findings):,} were repaired")
    else:
        click.echo(f"{words}; `--repair` can do something about {possible:,} of {len(report.findings):,}")


def _counts(report: CheckReport) -> dict[str, int]:
    counts = {"error": 0, "warning": 0, "info": 0}
    for one in report.findings:
        counts[one.severity] += 1
    return counts
