"""Measures the diversity of each data set of a study and stores it in the lake.

    python analysis/diversity.py ./lake --project demo

The probe is a network trained on the training classes of all data sets together, a run of the lake
like any other. Embeddings that the lake holds are not computed again.
"""

from __future__ import annotations

from pathlib import Path

import click
from tqdm import tqdm

from lightning_lde import Lake
from lightning_lde.cli import parsed_options, run_command
from lightning_lde.study import PRESETS, default_jobs, measure_diversity, preset, study_datasets, train_probe


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="study", show_default=True, help="Project in the lake.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of Parquet packs.")
@click.option("--dataset", "names", multiple=True, help="Only this data set; repeat it for several.")
@click.option("--jobs", default=default_jobs, show_default="cores", type=click.IntRange(min=1), help="Processes.")
@click.option("--preset", "name", default="demo", show_default=True, type=click.Choice(list(PRESETS)), help="Settings.")
@click.option("--set", "numbers", multiple=True, metavar="NAME=NUMBER", help="Another number than the preset's.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    project: str,
    data: Path | None,
    names: tuple[str, ...],
    jobs: int,
    name: str,
    numbers: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    """Embed tasks of each data set and store the diversity coefficients in LAKE."""
    opened = Lake(lake, parsed_options(options)).create()
    print("loading data sets" if data else "drawing data sets", flush=True)
    datasets, settings = study_datasets(data, preset(name).changed(numbers), names=names or None)
    print("training the probe, or loading it from the lake")
    probe = train_probe(opened, datasets, settings, project=project)
    measured = measure_diversity(opened, datasets, settings, probe, project=project, jobs=jobs)
    found = list(tqdm(measured, total=len(datasets), desc="diversity", unit="set"))
    width = max(len(one.dataset) for one in found)
    print(f"\n{'data set':<{width}} {'diversity':>9}  95 % interval     tasks")
    for one in sorted(found, key=lambda one: one.coefficient.value):
        c = one.coefficient
        print(f"{one.dataset:<{width}} {c.value:>9.4f}  [{c.low:.4f}, {c.high:.4f}]  {c.n_tasks:>5}")


if __name__ == "__main__":
    run_command(main)
