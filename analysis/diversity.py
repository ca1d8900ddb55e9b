"""Measures the diversity of each data set of a study and stores it in the lake.

    python analysis/diversity.py ./lake --project demo
    python analysis/diversity.py ./lake --project demo --probe study --probe random --probe resnet18.pth

The probe is a network trained on the training classes of all data sets together, a run of the lake
like any other. Embeddings that the lake holds are not computed again, so it may be stopped at any time.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from tqdm import tqdm

from lightning_lde import Lake
from lightning_lde.cli import parsed_options, print_sentences, run_command
from lightning_lde.study import (
    PRESETS,
    DatasetDiversity,
    default_jobs,
    measure_diversity,
    open_probe,
    preset,
    probe_sensitivity,
    sensitivity_lines,
    study_datasets,
)


def _usable(_context: click.Context, parameter: click.Parameter, device: str) -> str:
    """A device, once it is known to work: a probe is trained for minutes before it is needed."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise click.BadParameter(f"{device!r} does not work here: {error}", param=parameter) from error
    return device


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="study", show_default=True, help="Project in the lake.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of Parquet packs.")
@click.option("--dataset", "names", multiple=True, help="Only this data set; repeat it for several.")
@click.option(
    "--probe", "probes", multiple=True, default=("study",), show_default=True, metavar="PROBE",
    help="study, random[:SEED], run:RUN, or a file with a state dict; repeat it, the first gives the main figures.",
)  # fmt: skip
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    callback=_usable,
    help="Where embeddings are made; a GPU takes one job.",
)
@click.option("--jobs", default=default_jobs, show_default="cores", type=click.IntRange(min=1), help="Processes.")
@click.option("--preset", "name", default="demo", show_default=True, type=click.Choice(list(PRESETS)), help="Settings.")
@click.option("--set", "numbers", multiple=True, metavar="NAME=NUMBER", help="Another number than the preset's.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    project: str,
    data: Path | None,
    names: tuple[str, ...],
    probes: tuple[str, ...],
    device: str,
    jobs: int,
    name: str,
    numbers: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    """Embed tasks of each data set and store the diversity coefficients in LAKE."""
    opened = Lake(lake, parsed_options(options)).create()
    print("loading data sets" if data else "drawing data sets", flush=True)
    datasets, settings = study_datasets(data, preset(name).changed(numbers), names=names or None)
    found: list[DatasetDiversity] = []
    for number, words in enumerate(probes):
        doing = "training it, or loading it from the lake" if words == "study" else "loading it"
        print(f"probe {words}: {doing}", flush=True)
        used = open_probe(words, opened, datasets, settings, project=project)
        with tqdm(total=len(datasets) * settings.diversity_tasks, desc="tasks", unit="task") as bar:
            measured = measure_diversity(
                opened,
                datasets,
                settings,
                used.probe.to(device),
                project=project,
                jobs=jobs if device == "cpu" else 1,
                probe_run_id=used.run_id,
                is_main=number == 0,
                progress=bar.update,
            )
        found = found or measured
    print_table(found)
    if len(probes) > 1:
        print_sentences(["", *sensitivity_lines(probe_sensitivity(opened, project=project))])


def print_table(found: list[DatasetDiversity]) -> None:
    """Print each data set's coefficient with what belongs beside it, the least diverse first."""
    width = max(len(one.dataset) for one in found)
    print(f"\n{'data set':<{width}} {'diversity':>9}  95 % interval     noise  standardised  mean features  tasks")
    for one in sorted(found, key=lambda one: one.coefficient.value):
        c, features = one.coefficient, one.mean_features
        cheap = f"{features.value:.3f}" if features else ""
        print(
            f"{one.dataset:<{width}} {c.value:>9.4f}  {f'[{c.low:.4f}, {c.high:.4f}]':<16} {c.noise:>6.4f}  "
            f"{one.standardised.value:>12.3f}  {cheap:>13}  {c.n_tasks:>5}"
        )


if __name__ == "__main__":
    run_command(main)
