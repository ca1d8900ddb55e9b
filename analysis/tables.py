"""Writes the results of a study as Parquet, and prints its accuracies beside the nearest centroid of pixels.

    python analysis/tables.py ./lake --project twelve --preset twelve --data PACKS --seeds 3 -o docs/results/study

The options are those of tasks/study.py: they say which cells the study has. Its tables come from the lake alone; the
data are read for the yardstick on the same tasks.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
import pyarrow.parquet as pq

from lightning_lde import Lake
from lightning_lde.cli import parsed_options, run_command
from lightning_lde.study import (
    PRESETS,
    StudySettings,
    StudyTables,
    accuracy_lines,
    cell_states,
    pixel_baseline,
    plan_cells,
    preset,
    study_datasets,
    study_tables,
)

README = """\
# Results of a study

{finished} of {cells} trainings: {sets} data sets, {algorithms} algorithms, {seeds} seeds, {hours:.1f} hours of training
in all, from {began:%Y-%m-%d %H:%M} UTC on. LAKE is a folder, PACKS the folder of the data sets:

```
python tasks/study.py LAKE {words}
python analysis/tables.py LAKE {words} -o .
```

| file | one row per | rows |
|---|---|---|
{files}
{answer}
Accuracy in percent: mean over seeds, ± the half of its 95 % interval over tasks, ± that over seeds (none for what has
no seeds). All are judged on the same tasks, {tasks} of each data set.

```
{table}
```

The settings, `{settings_id}`:

```json
{settings}
```
"""

ANSWER = "\nWhat follows from them: [answer.md](answer.md).\n"

ROWS = {
    "runs": "finished training",
    "cells": "training and number of inner steps, with its interval over tasks",
    "accuracies": "data set and configuration, with intervals over tasks and over seeds",
    "episodes": "evaluated task, training and number of inner steps",
    "pixels": "task: the nearest centroid of pixels",
}


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="study", show_default=True, help="Project in the lake.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of Parquet packs.")
@click.option("--dataset", "names", multiple=True, help="Only this data set; repeat it for several.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1), help="Seeds per cell.")
@click.option("--preset", "name", default="demo", show_default=True, type=click.Choice(list(PRESETS)), help="Settings.")
@click.option("--set", "numbers", multiple=True, metavar="NAME=NUMBER", help="Another number than the preset's.")
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for Parquet and README.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    project: str,
    data: Path | None,
    names: tuple[str, ...],
    seeds: int,
    name: str,
    numbers: tuple[str, ...],
    output: Path | None,
    options: tuple[str, ...],
) -> None:
    """Print the accuracies of the study in LAKE and write its tables."""
    opened = Lake(lake, parsed_options(options))
    datasets, settings = study_datasets(data, preset(name).changed(numbers), names=names or None)
    states = cell_states(opened, plan_cells(datasets, settings, seeds=range(seeds)), project=project)
    tables = study_tables(opened, states, {one.name: pixel_baseline(one, settings) for one in datasets})
    lines = accuracy_lines(tables)
    print("\n".join(lines))
    print(f"\n{tables.runs.num_rows} of {len(states)} trainings are finished")
    if output is not None:
        given = [f"--project {project}", f"--preset {name}", *(f"--set {number}" for number in numbers)]
        given += [*(["--data PACKS"] if data else []), *(f"--dataset {one}" for one in names), f"--seeds {seeds}"]
        write(output, tables, settings, words=" ".join(given), lines=lines, cells=len(states))
        print(f"written to {output}")


def write(
    folder: Path, tables: StudyTables, settings: StudySettings, *, words: str, lines: list[str], cells: int
) -> None:
    """Write each table and a page that says how they were made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.named().items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    runs = tables.runs
    page = README.format(
        finished=runs.num_rows,
        cells=cells,
        sets=len(runs.column("dataset").unique()),
        algorithms=len(runs.column("algorithm").unique()),
        seeds=len(runs.column("seed").unique()),
        hours=sum(runs.column("duration_s").to_pylist()) / 3600,
        began=min(runs.column("started_at").to_pylist()),
        words=words,
        files="\n".join(f"| `{name}.parquet` | {ROWS[name]} | {t.num_rows} |" for name, t in tables.named().items()),
        answer=ANSWER if (folder / "answer.md").exists() else "",
        tasks=settings.test_episodes,
        table="\n".join(lines),
        settings_id=settings.settings_id,
        settings=json.dumps(asdict(settings), indent=1),
    )
    (folder / "README.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
