"""Correlates test accuracy with diversity over the data sets of a study; prints a table, writes a report.

    python analysis/correlation.py ./lake --project demo -o report.html --plots plots

Everything is read from the lake, nothing is trained or embedded. The figures are written back into it, linked to what
they were computed from; once: the same data give the same figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lightning_lde import Lake
from lightning_lde.cli import analysis_options, parsed_options, print_sentences, run_command, study_analysis, written
from lightning_lde.study import StudyAnalysis
from lightning_lde.ui import study_report, verdict


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="study", show_default=True, help="Project in the lake.")
@analysis_options
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    project: str,
    output: Path | None,
    plots: Path | None,
    record: bool,
    options: tuple[str, ...],
    **chosen: Any,
) -> None:
    """Answer from LAKE: does accuracy rise with diversity, and more for MAML than for pretraining?"""
    opened = Lake(lake, parsed_options(options))
    analysis = study_analysis(opened, project, **chosen)
    print_table(analysis)
    print_sentences((*verdict(analysis), *analysis.notes))
    result_id = written(opened, analysis, record=record, plots=plots)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(study_report(analysis, result_id=result_id), encoding="utf-8")
        print(f"\nreport: {output}")


def print_table(analysis: StudyAnalysis) -> None:
    """Print slope and R² of each configuration with their intervals."""
    print(f"{'configuration':<34} {'n':>3} {'slope':>8} {'95 % interval':>18} {'R²':>6} {'95 % interval':>15} {'p':>6}")
    for result in analysis.configurations:
        c = result.correlation
        slope = "[{:+.3f}, {:+.3f}]".format(*result.slope_bounds)
        explained = "[{:.2f}, {:.2f}]".format(*result.r_squared_bounds)
        print(
            f"{result.label:<34} {c.n:>3} {c.slope:>+8.3f} {slope:>18} {c.r_squared:>6.3f} {explained:>15} "
            f"{result.p:>6.3f}"
        )
    print()


if __name__ == "__main__":
    run_command(main)
