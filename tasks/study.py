"""Trains data sets x algorithms x seeds into one lake; what the lake already holds is not repeated.

    python tasks/study.py ./lake --project demo
    python tasks/study.py ./lake --project twelve --preset twelve --data PACKS --seeds 3
    python tasks/study.py ./lake --project twelve --preset twelve --data PACKS --seeds 3 --status

Without --data it draws its own data sets, printed characters of 12 scripts and handwritten digits.
Stop it whenever you like: started again it goes on where it was, and tries again what failed.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from tqdm import tqdm

from lightning_lde import Lake
from lightning_lde.cli import parsed_options, print_sentences, run_command
from lightning_lde.study import (
    BACKENDS,
    PRESETS,
    CellOutcome,
    CellState,
    Pace,
    about,
    cell_states,
    cells_to_run,
    default_jobs,
    past_durations,
    plan_cells,
    preset,
    run_cells,
    study_datasets,
)


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="study", show_default=True, help="Project in the lake.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of Parquet packs.")
@click.option("--dataset", "names", multiple=True, help="Only this data set; repeat it for several.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1), help="Seeds per cell.")
@click.option("--preset", "name", default="demo", show_default=True, type=click.Choice(list(PRESETS)), help="Settings.")
@click.option("--set", "numbers", multiple=True, metavar="NAME=NUMBER", help="Another number than the preset's.")
@click.option("--jobs", default=default_jobs, show_default="cores", type=click.IntRange(min=1), help="At a time.")
@click.option("--backend", default="loky", show_default=True, type=click.Choice(BACKENDS), help="loky: processes.")
@click.option("--skip-failed", "failed", flag_value="skip", help="Leave out what failed before.")
@click.option("--only-failed", "failed", flag_value="only", help="Train only what failed before.")
@click.option("--status", is_flag=True, help="Train nothing: say what is finished, what failed and why, what is left.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    project: str,
    data: Path | None,
    names: tuple[str, ...],
    seeds: int,
    name: str,
    numbers: tuple[str, ...],
    jobs: int,
    backend: str,
    failed: str | None,
    status: bool,
    options: tuple[str, ...],
) -> None:
    """Train the cells that LAKE does not hold yet."""
    opened = Lake(lake, parsed_options(options)).create()
    print("loading data sets" if data else "drawing data sets", flush=True)
    datasets, settings = study_datasets(data, preset(name).changed(numbers), names=names or None)
    cells = plan_cells(datasets, settings, seeds=range(seeds))
    todo = cells_to_run(opened, cells, project=project, failed=failed or "again")
    states = cell_states(opened, cells, project=project)
    finished = sum(one.state == "finished" for one in states)
    print(f"{len(cells)} trainings on {len(datasets)} data sets, {finished} are in {opened.url} already")
    if status:
        print_states(states)
        return
    pace = Pace(todo, jobs=jobs, known=past_durations(opened, settings.settings_id), now=time.monotonic())
    left_out = f", {len(cells) - finished - len(todo)} left out" if failed else ""
    print(f"{len(todo)} to train{left_out}, {jobs} at a time: {time_left(pace)}", flush=True)
    outcomes = run_cells(opened, todo, datasets, settings, project=project, jobs=jobs, backend=backend)
    wrong = watch(outcomes, pace, total=len(todo))
    for outcome in wrong:
        print(f"\n{outcome.cell.label} failed:\n{outcome.error}", file=sys.stderr)
    if wrong:
        raise SystemExit(
            f"{len(wrong)} of {len(todo)} trainings failed; the same command tries them again, "
            "with --skip-failed it leaves them out"
        )


def watch(outcomes: Iterator[CellOutcome], pace: Pace, *, total: int) -> list[CellOutcome]:
    """Show progress, as a bar on a terminal and as lines elsewhere, and return the outcomes that failed."""
    failed = []
    bar_format = "{desc} {n_fmt}/{total_fmt}|{bar}| {elapsed}, {postfix}"
    with tqdm(total=total, desc="training", bar_format=bar_format, disable=not total or not sys.stderr.isatty()) as bar:
        for number, outcome in enumerate(outcomes, 1):
            is_wrong = outcome.error is not None
            pace.ended(outcome.cell, None if is_wrong else outcome.duration_s, now=time.monotonic())
            bar.set_postfix_str(time_left(pace), refresh=False)
            bar.update()
            if bar.disable:
                took = "failed" if is_wrong else about(outcome.duration_s or 0)
                print(f"{number}/{total} {outcome.cell.label}: {took}; {time_left(pace)}", flush=True)
            if is_wrong:
                failed.append(outcome)
    return failed


def time_left(pace: Pace) -> str:
    """How long it will still take, in words."""
    seconds = pace.remaining_s(now=time.monotonic())
    if seconds is None:
        return "how long is not known yet"
    return f"about {about(seconds)} left" if seconds else "nothing left"


def print_states(states: Iterable[CellState]) -> None:
    """One line a cell, the finished ones last, and how many there are of each state."""
    states = sorted(states, key=lambda one: one.state == "finished")
    width = max(len(one.cell.label) for one in states)
    for one in states:
        said = about(one.duration_s or 0) if one.state == "finished" else (one.reason or "").partition("\n")[0]
        print_sentences([f"{one.state:<11} {one.cell.label:<{width}}  {one.run_id or '':<36}  {said}".rstrip()])
    counts = Counter(one.state for one in states)
    print(", ".join(f"{count} {state}" for state, count in counts.items()))


if __name__ == "__main__":
    run_command(main)
