"""Subcommand top: the best configurations by a metric, and in which settings they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import PROJECT_VARIABLE, open_lake, output_format, split_words, storage_options
from lightning_lde.cli._output import print_table
from lightning_lde.cli._settings import MOST_SETTINGS, settings_of

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.query import Lake


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] METRIC")
@click.option("--mode", type=click.Choice(("max", "min")), default="max", show_default=True, help="What is better.")
@click.option(
    "--of-run", type=click.Choice(("last", "min", "max")), default="last", show_default=True,
    help="What counts of a run.",
)  # fmt: skip
@click.option("--dataset", help="Only runs on the data set of this name or id.")
@click.option("--project", envvar=PROJECT_VARIABLE, help="Only runs of this project.")
@click.option("--single", is_flag=True, help="Rank runs one by one; without it repetitions count with their mean.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=1), help="How many to show.")
@click.option("--all-settings", is_flag=True, help="Show settings that are equal too.")
@output_format
@storage_options
def top(
    words: tuple[str, ...],
    mode: str,
    of_run: str,
    dataset: str | None,
    project: str | None,
    single: bool,
    limit: int,
    all_settings: bool,
    form: str,
    options: tuple[str, ...],
) -> None:
    """Rank what was trained by METRIC, over repetitions, with the settings in which the best differ."""
    url, metric = split_words(words, "METRIC")
    lake = open_lake(url, options)
    best = lake.top(
        metric, mode=mode, of_run=of_run, dataset=dataset, project=project, aggregate=not single, k=limit
    )  # fmt: skip
    if best.num_rows == 0:
        raise click.UsageError(f"no finished run has a value of {metric!r}" + _known(lake, project))
    print_table(
        with_settings(lake, best, all_settings=all_settings, most=MOST_SETTINGS if form == "table" else None), form
    )


def with_settings(lake: Lake, best: pa.Table, *, all_settings: bool, most: int | None) -> pa.Table:
    """A ranking with a column for each setting in which its rows differ.

    Args:
        lake: The lake.
        best: What `Lake.top` found.
        all_settings: Whether settings that all rows share are shown too.
        most: How many settings at most, None for all.
    """
    import pyarrow as pa

    newest = [runs[0] for runs in best.column("runs").to_pylist()]
    settings = settings_of(lake, newest, only_different=not all_settings)
    columns: dict[str, Any] = {
        name: best.column(name) for name in ("rank", "value", "low", "high", "n", "dataset", "name")
    }
    columns["run_id"] = newest
    columns |= dict(list(settings.items())[:most])
    return pa.table(columns)


def _known(lake: Lake, project: str | None) -> str:
    rows = lake.sql(
        """select distinct unnest(json_keys(summary)) as name from runs
           where status = 'finished' and ($1 is null or project = $1) order by name limit 20""",
        [project],
    )
    names = ", ".join(rows.column("name").to_pylist())
    return f"; there are: {names}" if names else ""
