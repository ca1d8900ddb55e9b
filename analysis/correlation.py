"""Correlates test accuracy with diversity over the data sets of a study; prints a table, writes a report.

python analysis/correlation.py ./lake --project demo -o report.html
"""

from __future__ import annotations

from pathlib import Path

import click

from lightning_lde import Lake
from lightning_lde.cli import parsed_options, run_command
from lightning_lde.study import analyse
from lightning_lde.ui import study_report, verdict


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="study", show_default=True, help="Project in the lake.")
@click.option("--metric", default="accuracy", show_default=True, type=click.Choice(("accuracy", "loss")))
@click.option("--settings", "settings_id", help="Id of the settings, or its beginning; by default the newest.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
@click.option("--storage-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the lake's storage.")
def main(
    lake: str,
    project: str,
    metric: str,
    settings_id: str | None,
    output: Path | None,
    options: tuple[str, ...],
) -> None:
    """Answer from LAKE: does accuracy rise with diversity, and more for MAML than for pretraining?"""
    opened = Lake(lake, parsed_options(options))
    analysis = analyse(opened, project=project, metric=metric, settings_id=settings_id)
    print(f"{'configuration':<34} {'n':>3} {'slope':>8} {'95 % interval':>18} {'R²':>6} {'95 % interval':>15} {'p':>6}")
    for result in analysis.configurations:
        c = result.correlation
        slope = f"[{c.slope_low:+.3f}, {c.slope_high:+.3f}]"
        explained = f"[{c.r_squared_low:.2f}, {c.r_squared_high:.2f}]"
        print(
            f"{result.label:<34} {c.n:>3} {c.slope:>+8.3f} {slope:>18} {c.r_squared:>6.3f} {explained:>15} "
            f"{c.p_permutation:>6.3f}"
        )
    print()
    for sentence in (*verdict(analysis), *analysis.notes):
        print(sentence)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(study_report(analysis), encoding="utf-8")
        print(f"\nreport: {output}")


if __name__ == "__main__":
    run_command(main)
