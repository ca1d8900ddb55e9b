"""Subcommand policy: what a lake takes."""

from __future__ import annotations

from dataclasses import replace

import click

from lightning_lde.cli._arguments import open_lake, storage_options
from lightning_lde.cli._output import print_json, print_lines


@click.command()
@click.argument("url", required=False)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeat it for several.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def policy(url: str | None, changes: tuple[str, ...], form: str, options: tuple[str, ...]) -> None:
    """Show or change what a lake takes: level of capture, parameters, variables, how people are named.

    A change counts for what is recorded from then on; `lde audit` finds what is there already.
    """
    lake = open_lake(url, options)
    lake.storage.require()
    before = after = lake.storage.policy()
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise click.UsageError(f"--set {change!r} is not KEY=VALUE")
        after = after.changed(key.strip(), value.strip())
    if after != before:
        lake.storage.set_policy(replace(after, salt=before.salt))
    if form == "json":
        print_json(after.settings())
        return
    old, new = before.settings(), after.settings()
    print_lines([(key, new[key] if new[key] == old[key] else f"{old[key] or '-'} -> {new[key] or '-'}") for key in new])
