"""Says how much a metric varies over repeated runs, and how much of that by seed, split, environment and code.

    python analysis/variability.py ./lake val/accuracy --project demo --difference 0.01

Runs are repetitions where they share the pipeline configuration and the data set. The same is reachable as
`lde variability`, which also writes JSON and CSV.
"""

from __future__ import annotations

import click

from lightning_lde import Lake
from lightning_lde.cli import parsed_options, run_command
from lightning_lde.study import analyse_variability
from lightning_lde.ui import variability_text

FACTORS = ("dataset_config", "environment", "code", "seed")
GROUPING = ("pipeline_config", "dataset")


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.argument("metric")
@click.option("--project", default="study", show_default=True, help="Project in the lake.")
@click.option("--take", default="last", show_default=True, type=click.Choice(("last", "min", "max")))
@click.option("--by", multiple=True, default=FACTORS, show_default=True, help="What repetitions may differ in.")
@click.option("--group", multiple=True, default=GROUPING, show_default=True, help="What they must share.")
@click.option("--ignore", multiple=True, metavar="KEY", help="Hyper-parameter that is no setting, such as seed.")
@click.option("--difference", type=float, help="Count the seeds that find such a difference.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    metric: str,
    project: str,
    take: str,
    by: tuple[str, ...],
    group: tuple[str, ...],
    ignore: tuple[str, ...],
    difference: float | None,
    options: tuple[str, ...],
) -> None:
    """Answer from LAKE: how far can one result of METRIC be trusted, and what does it depend on?"""
    analysis = analyse_variability(
        Lake(lake, parsed_options(options)),
        project=project,
        metric=metric,
        take=take,
        by=by,
        group=group,
        ignore=ignore,
        difference=difference,
    )
    print(variability_text(analysis, with_queries=True))


if __name__ == "__main__":
    run_command(main)
