"""Subcommand plan: plan a study from past runs, and set what was done beside it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import (
    URL_VARIABLE,
    open_lake,
    project_of,
    project_option,
    storage_options,
)
from lightning_lde.cli._output import print_json, text
from lightning_lde.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from lightning_lde.query import Lake
    from lightning_lde.study import PlanCheck

_SHOWN = 10


@click.command()
@click.argument("url", required=False)
@project_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan to this new file."
)
@click.option("--check", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Check this plan instead.")
@click.option("--for", "name", metavar="PROJECT", help="Project of the study to come; the pilot's without it.")
@click.option(
    "--metric", default="accuracy", show_default=True, help="accuracy or loss over tasks, or a metric's name."
)
@click.option("--settings", help="Settings of the study; without it the newest.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="A data set, past or new; repeat it.")
@click.option("--seeds", type=int, help="Seeds of each training; without it what finds --difference, 3 to 10.")
@click.option("--jobs", default=1, show_default=True, help="Trainings at a time.")
@click.option("--difference", default=0.02, show_default=True, help="The smallest difference that matters.")
@click.option("--correlation", "r", default=0.7, show_default=True, help="The smallest correlation that matters.")
@click.option("--power", default=0.8, show_default=True, help="Chance of finding what is there.")
@click.option("--alpha", default=0.05, show_default=True, help="Level of the tests.")
@click.option("--baseline", metavar="CONFIGURATION", help="What to compare with; pretraining or the lowest without it.")
@click.option("--against", metavar="CONFIGURATION", help="What to compare; the highest without it.")
@click.option(
    "--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True, help="Of --check."
)
@storage_options
def plan(
    url: str | None,
    project: str | None,
    output: Path | None,
    check: Path | None,
    name: str | None,
    metric: str,
    settings: str | None,
    datasets: tuple[str, ...],
    seeds: int | None,
    jobs: int,
    difference: float,
    r: float,
    power: float,
    alpha: float,
    baseline: str | None,
    against: str | None,
    form: str,
    options: tuple[str, ...],
) -> None:
    """Plan a study from past runs: data sets, seeds, cost, power, success criteria, as a document to fill in.

    With --check FILE set what was done beside the plan. The exit code is then 0 where every criterion is met, 1 where
    one is not, or cannot be judged, and 2 where the plan or the lake cannot be read.
    """
    from lightning_lde.study import plan_page, plan_study

    if check is not None:
        _check(check, url, options, form)
        return
    if output is not None and output.exists():
        raise ConfigurationError(f"{output} is there already, and may be filled in: give another -o, or remove it")
    lake = open_lake(url, options)
    found = plan_study(
        lake, project=project_of(lake, project), name=name, metric=metric, settings_id=settings, datasets=datasets,
        seeds=seeds, jobs=jobs, smallest=difference, r=r, power=power, alpha=alpha, baseline=baseline, against=against,
    )  # fmt: skip
    page = plan_page(found)
    if output is None:
        click.echo(page, nl=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    click.echo(f"wrote {output}")


def _check(path: Path, url: str | None, options: tuple[str, ...], form: str) -> None:
    from lightning_lde.study import check_plan, read_plan

    try:
        planned = read_plan(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error}): give a file that `lde plan -o` wrote") from error
    found = check_plan(_lake_of(url, planned.lake, options), planned)
    if form == "json":
        print_json(as_dict(found))
    else:
        _print(found)
    sys.exit(0 if found.is_met else 1)


def _lake_of(url: str | None, planned: str | None, options: tuple[str, ...]) -> Lake:
    import os

    return open_lake(url or os.environ.get(URL_VARIABLE) or planned, options)


def as_dict(found: PlanCheck) -> dict[str, Any]:
    """All figures of a check, with the queries and without their rows."""
    facts = {name: value for name, value in vars(found).items() if name not in {"results", "queries"}}
    return {
        **facts,
        "is_met": found.is_met,
        "results": [asdict(one) for one in found.results],
        "queries": [{"name": one.name, "sql": one.sql, "n_rows": len(one.rows)} for one in found.queries],
    }


def _print(found: PlanCheck) -> None:
    planned = "" if found.planned_hours is None else f", {found.planned_hours:.2f} planned"
    click.echo(f"{found.finished} of {found.planned} planned trainings are finished; {found.hours:.2f} hours{planned}")
    for what, cells in (("missing", found.missing), ("failed", found.failed), ("not planned", found.unplanned)):
        if cells:
            more = f" and {len(cells) - _SHOWN} more" if len(cells) > _SHOWN else ""
            click.echo(f"{what}: {text(', '.join(cells[:_SHOWN]))}{more}")
    if found.early:
        click.echo(f"{found.early} of the finished ones began before the plan was made")
    for one in found.results:
        word = {True: "met", False: "NOT MET", None: "cannot be said"}[one.met]
        click.echo(f"{word:<14}  {text(one.criterion)}: {text(one.figure)}")
