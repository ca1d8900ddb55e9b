"""Curves of a run, thinned out where they have more points than anybody looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_lde.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.query._lake import Lake

_FEWEST = 4
_COLUMNS = "name, context, dataloader_idx, step, global_step, epoch, time, value"
_CURVE = "name, context, dataloader_idx"


def curves(
    lake: Lake, run_id: str, name: str | None, *, context: str | None = None, max_points: int | None = None
) -> pa.Table:
    """Curves of one run; see `Lake.metrics`.

    Args:
        lake: The lake.
        run_id: The run's whole id.
        name: The metric; None for all.
        context: Where it was logged; None for all.
        max_points: How many points a curve has at most; None for all.

    Raises:
        ConfigurationError: If ``max_points`` is below 4.
    """
    if max_points is not None and max_points < _FEWEST:
        raise ConfigurationError(f"max_points={max_points!r}: expected {_FEWEST} or more")
    chosen = f"""
        select {_COLUMNS} from metrics
        where run_id = $1 and ($2 is null or name = $2) and ($3 is null or context = $3)"""
    order = f"order by {_CURVE}, step, time"
    if max_points is None:
        return lake.sql(f"{chosen} {order}", [run_id, name, context], of_runs=[run_id])
    return lake.sql(
        f"""
        with point as (
            select *, row_number() over curve - 1 as number, count(*) over (partition by {_CURVE}) as n from ({chosen})
            window curve as (partition by {_CURVE} order by step, time)),
        place as (select *, number * ($4 // 2) // n as stretch from point),
        kept as (
            select *, row_number() over (partition by {_CURVE}, stretch order by value, number) as from_below,
                   row_number() over (partition by {_CURVE}, stretch order by value desc, number) as from_above
            from place)
        select {_COLUMNS} from kept where n <= $4 or from_below = 1 or from_above = 1 {order}""",
        [run_id, name, context, max_points],
        of_runs=[run_id],
    )
