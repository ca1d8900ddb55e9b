"""Subcommands tier and restore: files of runs go to the cold root, or away, and come back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from lightning_lde.cli._arguments import PROJECT_VARIABLE, open_lake, storage_options
from lightning_lde.cli._compare import url_and_runs
from lightning_lde.cli._output import print_json, print_lines, text
from lightning_lde.cli._progress import progress
from lightning_lde.cli._show import size

if TYPE_CHECKING:
    from lightning_lde.lake import LakeStorage
    from lightning_lde.lake.tiers import Amount, Estimate, Restoring, Tiering

_MOST_PROBLEMS = 10
_RETRIEVALS = ("Bulk", "Standard", "Expedited")


@click.command()
@click.argument("url", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would move, how many bytes, and what it costs.")
@click.option("--project", envvar=PROJECT_VARIABLE, help="Only files of runs of this project.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def tier(url: str | None, dry_run: bool, project: str | None, form: str, options: tuple[str, ...]) -> None:
    """Bring files of runs to the cold root, or away, as the rules of `lde policy` say.

    Rows stay: every question about a run is answered as before. It may be stopped and started again at any time, beside
    readers and writers. Of two at once one steps aside.
    """
    storage = open_lake(url, options).storage
    with progress("looking through files and rows") as tell:
        done = storage.tier(
            dry_run=dry_run, project=project, tell=lambda now: tell(f"copied {_amount(now.copied, 'object')}")
        )
    if form == "json":
        print_json(_as_dict(done))
        return
    if done.was_busy:
        click.echo(f"files of {storage.url} are being moved already, nothing was done")
        return
    _print_rules(storage, done)
    _print_sizes(done)
    if done.cost is not None and (done.copied.n or done.removed.n or done.removed_cold.n):
        _print_cost(done.cost)
    _print_problems(done.problems)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] RUN...")
@click.option("--match", default="*", metavar="GLOB", help="Only files whose path this means.")
@click.option("--days", default=7, show_default=True, help="For how many days archived objects are asked for.")
@click.option(
    "--retrieval", type=click.Choice(_RETRIEVALS), default="Standard", show_default=True,
    help="How fast archived objects are asked for; Bulk is the cheapest.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Go on until all is back, with a look each minute.")
@click.option("--dry-run", is_flag=True, help="Only say what is where.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def restore(
    words: tuple[str, ...],
    match: str,
    days: int,
    retrieval: str,
    wait: bool,
    dry_run: bool,
    form: str,
    options: tuple[str, ...],
) -> None:
    """Bring cold files of runs back, verified; what is archived is asked for.

    RUN is an id, the beginning of one, or a unique name. Where objects have to be asked for, the command says so and
    ends; the same command later, or --wait, brings back what has arrived.
    """
    lake, runs = _lake_and_runs(words, options)
    with progress("looking where files are") as tell:
        done = lake.restore(
            runs, match=match, days=days, retrieval=retrieval, wait=wait, dry_run=dry_run,
            tell=lambda now: tell(f"back: {_amount(now.restored, 'file')}; archived: {_amount(now.waiting, 'file')}"),
        )  # fmt: skip
    if form == "json":
        print_json(dataclasses.asdict(done))
        return
    _print_restoring(lake, done)


def _lake_and_runs(words: tuple[str, ...], options: tuple[str, ...]) -> tuple[LakeStorage, list[str]]:
    """The lake that is named first, or the variable's, and the ids of the runs."""
    url, runs = url_and_runs(words)
    if not runs:
        raise click.UsageError("name a lake and at least one run: lde restore URL RUN")
    lake = open_lake(url, options)
    return lake.storage, lake.resolve_runs(runs)


def _as_dict(done: Tiering) -> dict[str, object]:
    found = dataclasses.asdict(done)
    if done.cost is not None:
        found["cost"] |= {"saving": done.cost.saving, "break_even_months": done.cost.break_even_months}
    return found


def _print_rules(storage: LakeStorage, done: Tiering) -> None:
    rules = storage.tiers().rules
    if not rules:
        click.echo(f"the lake at {storage.url} has no rules: `lde policy set {storage.url} --rule …`")
    for number, rule in enumerate(rules, 1):
        moved = done.by_rule.get(number)
        if moved is not None:
            click.echo(text(f"rule {number}: {rule.in_words()}: {_amount(moved, 'file')}"))
    if rules and not done.by_rule:
        click.echo("no file is to be moved" if done.is_dry_run else "no file was to be moved")
    would = "would be " if done.is_dry_run else ""
    for amount, words in (
        (done.copied, "copied to the cold root"),
        (done.removed, "removed from the lake's own root"),
        (done.removed_cold, "removed from the cold root"),
    ):
        if amount.n:
            click.echo(f"{would}{words}: {_amount(amount, 'object')}")


def _print_sizes(done: Tiering) -> None:
    lines = [("", f"{'objects':>22}{'bytes':>26}")]
    for name, before, after in (
        ("hot", done.hot_before, done.hot_after),
        ("cold", done.cold_before, done.cold_after),
    ):
        lines.append((name, f"{_change(before.n, after.n):>22}{_bytes_change(before, after):>26}"))
    click.echo("")
    print_lines(lines)


def _change(before: int, after: int) -> str:
    return f"{before:,} -> {after:,}"


def _bytes_change(before: Amount, after: Amount) -> str:
    return f"{size(before.size_bytes) or '0 B'} -> {size(after.size_bytes) or '0 B'}"


def _print_cost(cost: Estimate) -> None:
    click.echo("")
    if not cost.are_known:
        click.echo("cost: no prices are known: give tiers.prices.hot_gb_month and tiers.prices.cold_gb_month")
        return
    months = cost.break_even_months
    back = (
        "never: it costs more than it saves"
        if months is None
        else f"after {months:.1f} months"
        if months >= 0.05
        else "at once"
    )
    money = cost.currency
    click.echo(f"cost, by {cost.source}")
    print_lines(
        [
            ("moving, once", f"{_money(cost.once)} {money}"),
            ("storage, per month", f"{_money(cost.month_before)} -> {_money(cost.month_after)} {money}"),
            ("saving, per month", f"{_money(cost.saving)} {money}"),
            ("pays for itself", back),
            ("minimum time", f"{_money(cost.at_least)} {money} are due for what moves, whenever it is deleted"),
            ("bringing it all back", f"{_money(cost.back)} {money}"),
        ]
    )


def _money(amount: float) -> str:
    return f"{amount:,.0f}" if abs(amount) >= 1000 else f"{amount:.3g}"


def _print_restoring(storage: LakeStorage, done: Restoring) -> None:
    if done.was_busy:
        click.echo(f"files of {storage.url} are being moved at the moment, nothing was done: try again")
        return
    if not (done.restored.n or done.waiting.n or done.problems):
        click.echo("no cold file is meant: all that these runs have is hot, or was deleted")
        return
    if done.restored.n:
        would = "to bring back nothing has to be copied" if done.is_dry_run else "back in the lake's own root"
        click.echo(f"{would}: {_amount(done.restored, 'file')}")
    if done.copied.n:
        click.echo(f"copied: {_amount(done.copied, 'object')}")
    if done.asked.n:
        click.echo(f"asked for: {_amount(done.asked, 'object')}")
    if done.waiting.n:
        click.echo(f"cold still: {_amount(done.waiting, 'file')}")
    if done.states:
        until = "" if done.until is None else f" until {text(done.until)} UTC"
        states = ", ".join(
            f"{count:,} {state}{until if state == 'restored' else ''}" for state, count in sorted(done.states.items())
        )
        click.echo(f"objects in the cold root, as they were found: {states}")
    if done.waiting.n and not done.is_dry_run:
        click.echo("what is archived takes minutes to hours; the same command later, or --wait, brings it back")
    _print_problems(done.problems)


def _print_problems(problems: list[str]) -> None:
    for problem in problems[:_MOST_PROBLEMS]:
        click.echo(text(problem), err=True)
    if len(problems) > _MOST_PROBLEMS:
        click.echo(f"and {len(problems) - _MOST_PROBLEMS:,} files more; --format json has all of them", err=True)


def _amount(amount: Amount, what: str) -> str:
    return f"{amount.n:,} {what if amount.n == 1 else what + 's'}, {size(amount.size_bytes) or '0 B'}"
