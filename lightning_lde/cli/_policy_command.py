"""Subcommands policy show, policy set and policy explain: what a lake takes, and where its files go later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from lightning_lde.cli._arguments import open_lake, storage_options
from lightning_lde.cli._output import print_json, print_lines

if TYPE_CHECKING:
    from lightning_lde.lake import LakeStorage

_FORM = click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)


class _ShownByDefault(click.Group):
    """A group whose first word may be a lake: then it is shown."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in context.help_option_names):
            args = ["show", *args]
        return super().parse_args(context, args)


@click.group(cls=_ShownByDefault)
def policy() -> None:
    """Show or change what a lake takes, and where its files go later.

    `lde policy URL` is `lde policy show URL`. A lake in a folder called show, set or explain is ./show.
    """


@policy.command()
@click.argument("url", required=False)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeat it for several.")
@_FORM
@storage_options
def show(url: str | None, changes: tuple[str, ...], form: str, options: tuple[str, ...]) -> None:
    """Show what a lake takes: level of capture, parameters, variables, how people are named; and its tiers.

    A change counts for what is recorded from then on; `lde audit` finds what is there already.
    """
    _change_and_show(open_lake(url, options).storage, changes, form)


@policy.command("set")
@click.argument("words", nargs=-1, metavar="[URL] KEY=VALUE...")
@click.option(
    "--rule", "rules", multiple=True, metavar="RULE",
    help="Add a rule at the end, such as 'kind=checkpoint status=finished older_than=30d keep=best,last to=cold'.",
)  # fmt: skip
@click.option("--drop-rule", "dropped", type=int, multiple=True, metavar="NUMBER", help="Take a rule away.")
@_FORM
@storage_options
def change(
    words: tuple[str, ...], rules: tuple[str, ...], dropped: tuple[int, ...], form: str, options: tuple[str, ...]
) -> None:
    """Change settings and rules; KEY= takes a setting away.

    What a lake takes: capture, emails, names, parameters.allow and .deny, variables.allow and .deny. Where its files
    go: tiers.cold (a folder or URL), tiers.storage_class, tiers.prices.NAME. Nothing is moved before `lde tier`.
    """
    names_a_lake = bool(words) and not _is_change(words[0])
    url, changes = (words[0], words[1:]) if names_a_lake else (None, words)
    if not (changes or rules or dropped):
        raise click.UsageError("nothing to change: give KEY=VALUE, --rule or --drop-rule")
    _change_and_show(open_lake(url, options).storage, changes, form, rules, dropped)


def _is_change(word: str) -> bool:
    from lightning_lde.policy import Policy

    key, equals, _ = word.partition("=")
    return bool(equals) and (key in Policy().settings() or key.startswith("tiers."))


@policy.command()
@click.argument("url", required=False)
@click.option("--run", "word", metavar="RUN", help="Say of each file of this run where it goes, and why.")
@_FORM
@storage_options
def explain(url: str | None, word: str | None, form: str, options: tuple[str, ...]) -> None:
    """Say in words what the tiers would do to which files, and why; nothing is moved."""
    from lightning_lde.cli._tier_words import explain_lake, explain_run

    lake = open_lake(url, options)
    if word is not None:
        explain_run(lake.storage, lake.resolve_run(word), form)
    else:
        explain_lake(lake.storage, form)


def _change_and_show(
    storage: LakeStorage,
    changes: tuple[str, ...],
    form: str,
    rules: tuple[str, ...] = (),
    dropped: tuple[int, ...] = (),
) -> None:
    storage.require()
    before, tiers_before = storage.policy(), storage.tiers()
    after, tiers = before, tiers_before
    for key, value in _pairs(changes):
        if key.startswith("tiers."):
            tiers = tiers.changed(key, value)
        else:
            after = after.changed(key, value)
    if rules or dropped:
        tiers = tiers.with_rules(*rules, dropped=dropped)
    if after != before:
        storage.set_policy(replace(after, salt=before.salt))
    if tiers != tiers_before:
        storage.set_tiers(tiers)
    old = {**before.settings(), **tiers_before.settings()}
    new = {**after.settings(), **tiers.settings()}
    if form == "json":
        print_json(new)
        return
    if tiers.problem is not None:
        click.echo(f"the tiers cannot be understood, so nothing is moved: {tiers.problem}", err=True)
    keys = [*new, *(key for key in old if key not in new)]
    print_lines([(key, _difference(old.get(key, ""), new.get(key, ""))) for key in keys])


def _difference(old: str, new: str) -> str:
    return new if new == old else f"{old or '-'} -> {new or '-'}"


def _pairs(changes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise click.UsageError(f"{change!r} is not KEY=VALUE")
        yield key.strip(), value.strip()
