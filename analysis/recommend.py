"""Recommends what to try first on a data set, from what a lake knows of others, and says which runs say so.

    python analysis/recommend.py ./lake val/accuracy my-data-set

The same is reachable as `lde recommend`, which also writes JSON and a configuration for LightningCLI, and reads tables
from elsewhere.
"""

from __future__ import annotations

import click

from lightning_lde import Lake
from lightning_lde.cli import parsed_options, run_command
from lightning_lde.query import advise
from lightning_lde.recommend import gain_of_aggregation
from lightning_lde.ui import gain_text, recommendation_text


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.argument("metric")
@click.argument("dataset")
@click.option("-k", default=5, show_default=True, help="How many configurations.")
@click.option("--mode", default="max", show_default=True, type=click.Choice(("max", "min")), help="What is better.")
@click.option("--project", help="Only runs of this project.")
@click.option("--evaluate", is_flag=True, help="Say what repetitions gain, by leaving out one data set at a time.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    metric: str,
    dataset: str,
    k: int,
    mode: str,
    project: str | None,
    evaluate: bool,
    options: tuple[str, ...],
) -> None:
    """Answer from LAKE: which settings should be tried first on DATASET, for the sake of METRIC?"""
    opened = Lake(lake, parsed_options(options))
    results = opened.results(metric, mode=mode, project=project, aggregate=not evaluate)
    print(recommendation_text(advise(results, dataset, k=k)))
    if evaluate:
        print(gain_text(gain_of_aggregation(results.table)))


if __name__ == "__main__":
    run_command(main)
