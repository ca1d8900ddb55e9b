"""Trains data sets x algorithms x seeds into one lake; what the lake already holds is not repeated.

    python tasks/study.py ./lake --project demo
    python tasks/study.py s3://bucket/lake --data PACKS --seeds 3 --jobs 8

Without --data it draws its own data sets, printed characters of 12 scripts and handwritten digits.
Stop it whenever you like: started again it goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from tqdm import tqdm

from lightning_lde import Lake
from lightning_lde.cli import parsed_options, run_command
from lightning_lde.study import (
    ALGORITHMS,
    CellOutcome,
    StudySettings,
    cells_to_run,
    default_jobs,
    plan_cells,
    run_cells,
    study_datasets,
)


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="study", show_default=True, help="Project in the lake.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of Parquet packs.")
@click.option("--dataset", "names", multiple=True, help="Only this data set; repeat it for several.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1), help="Seeds per cell.")
@click.option("--jobs", default=default_jobs, show_default="cores", type=click.IntRange(min=1), help="Processes.")
@click.option("--set", "numbers", multiple=True, metavar="NAME=NUMBER", help="A number of StudySettings.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    project: str,
    data: Path | None,
    names: tuple[str, ...],
    seeds: int,
    jobs: int,
    numbers: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    """Train the cells that LAKE does not hold yet."""
    opened = Lake(lake, parsed_options(options)).create()
    print("loading data sets" if data else "drawing data sets", flush=True)
    datasets, settings = study_datasets(data, StudySettings().changed(numbers), names=names or None)
    cells = plan_cells(datasets, settings, algorithms=ALGORITHMS, seeds=range(seeds))
    todo = cells_to_run(opened, cells, project=project)
    print(f"{len(cells)} trainings on {len(datasets)} data sets, {len(cells) - len(todo)} are in {opened.url} already")
    outcomes = run_cells(opened, todo, datasets, settings, project=project, jobs=jobs)
    failed = watch(outcomes, total=len(todo))
    for outcome in failed:
        print(f"\n{outcome.cell.label} failed:\n{outcome.error}", file=sys.stderr)
    if failed:
        raise SystemExit(f"{len(failed)} of {len(todo)} trainings failed; the same command tries them again")


def watch(outcomes: Iterator[CellOutcome], *, total: int) -> list[CellOutcome]:
    """Show progress and return the outcomes that failed."""
    failed = []
    with tqdm(total=total, desc="training", unit="run", disable=total == 0) as bar:
        for outcome in outcomes:
            bar.set_postfix_str(outcome.cell.label)
            bar.update()
            if outcome.error is not None:
                failed.append(outcome)
    return failed


if __name__ == "__main__":
    run_command(main)
