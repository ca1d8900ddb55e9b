"""Subcommand runs: a list of runs, the settings in which they differ, and how many there are of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lightning_lde.cli._arguments import open_lake, output_format, storage_options
from lightning_lde.cli._output import print_table
from lightning_lde.cli._settings import MOST_SETTINGS, settings_of

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.query import Lake

_COLUMNS = "run_id, project, name, status, started_at, duration_s, dataset, module, seed"
_NEWEST = "started_at desc, run_id desc"
_ID = "id of the listed run"


@click.command()
@click.argument("url", required=False)
@click.option("--where", default="true", help="Condition in SQL over the columns of runs.")
@click.option("--sort", default=_NEWEST, show_default=True, help="Order in SQL, over runs, dataset and module.")
@click.option("--columns", default=_COLUMNS, help="Columns to show: of runs, dataset, module, or SQL over them.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="Most rows to show.")
@click.option("--params", "params", is_flag=True, help="Show settings too: those in which the listed runs differ.")
@click.option("--all-params", is_flag=True, help="Show all settings.")
@click.option("--count-by", metavar="COLUMNS", help="Count instead: runs by each of some columns, as project,status.")
@output_format
@storage_options
def runs(
    url: str | None,
    where: str,
    sort: str,
    columns: str,
    limit: int,
    count_by: str | None,
    form: str,
    options: tuple[str, ...],
    *,
    params: bool,
    all_params: bool,
) -> None:
    """List runs, newest first."""
    lake = open_lake(url, options)
    listed = f"""(
        select r.*, dataset_id, d.name as dataset, p.module_class as module
        from (select * from runs where {where}) r
        left join dataset_configs using (dataset_config_id) left join datasets d using (dataset_id)
        left join pipeline_configs using (pipeline_config_id) left join pipelines p using (pipeline_id)) listed"""
    if count_by is not None:
        print_table(_counted(lake, listed, count_by), form)
        return
    found = lake.sql(f'select {columns}, run_id as "{_ID}" from {listed} order by {sort} limit {limit}')
    ids = found.column(_ID).to_pylist()
    found = found.drop_columns([_ID])
    if params or all_params:
        most = MOST_SETTINGS if form == "table" and not all_params else None
        found = _with_settings(found, settings_of(lake, ids, only_different=not all_params), most)
    print_table(found, form)


def _counted(lake: Lake, listed: str, count_by: str) -> pa.Table:
    """How many runs have each value of some columns: the columns in their order, the most frequent value first."""
    names = [name.strip() for name in count_by.split(",") if name.strip()]
    if not names:
        raise click.UsageError(f"--count-by {count_by!r}: expected columns with commas between, as project,status")
    parts = " union all ".join(
        f'select {at} as place, ${at + 1} as "column", ({name})::varchar as value, count(*) as runs '
        f"from {listed} group by all"
        for at, name in enumerate(names)
    )
    return lake.sql(f'select "column", value, runs from ({parts}) order by place, runs desc, value nulls last', names)


def _with_settings(found: pa.Table, settings: dict[str, Sequence[str | None]], most: int | None) -> pa.Table:
    import pyarrow as pa

    keys = sorted(settings)
    for key in keys[:most]:
        # Settings may be called as columns are.
        name = f"params.{key}" if key in found.column_names else key
        found = found.append_column(name, pa.array(settings[key], pa.string()))
    if most is not None and len(keys) > most:
        click.echo(f"{len(keys) - most} more settings differ: --all-params or another --format shows them", err=True)
    return found
