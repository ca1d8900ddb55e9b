"""Subcommands over a study: correlate, report."""

from __future__ import annotations

from pathlib import Path

import click

from lightning_lde.cli._arguments import open_lake, output_format, project_of, project_option, storage_options
from lightning_lde.cli._output import print_table

settings_option = click.option(
    "--settings", help="Settings of the study, the beginning of the id is enough; without it the newest."
)


@click.command()
@click.argument("url", required=False)
@project_option
@click.option("--metric", default="accuracy", show_default=True, type=click.Choice(("accuracy", "loss")))
@settings_option
@output_format
@storage_options
def correlate(
    url: str | None, project: str | None, metric: str, settings: str | None, form: str, options: tuple[str, ...]
) -> None:
    """Correlate a metric with the diversity of data sets, per configuration."""
    from lightning_lde.cli._tables import correlation_table
    from lightning_lde.study import analyse

    lake = open_lake(url, options)
    analysis = analyse(lake, project=project_of(lake, project), metric=metric, settings_id=settings)
    print_table(correlation_table(analysis), form)
    # Standard output is the table alone, so that a program can read it.
    for note in analysis.notes:
        click.echo(note, err=True)


@click.command()
@click.argument("url", required=False)
@click.option(
    "-o",
    "--output",
    default="report.html",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
)
@project_option
@click.option("--metric", default="accuracy", show_default=True, type=click.Choice(("accuracy", "loss")))
@settings_option
@storage_options
def report(
    url: str | None,
    output: Path,
    project: str | None,
    metric: str,
    settings: str | None,
    options: tuple[str, ...],
) -> None:
    """Write the study's report as one HTML file."""
    from lightning_lde.study import analyse
    from lightning_lde.ui import study_report

    lake = open_lake(url, options)
    page = study_report(analyse(lake, project=project_of(lake, project), metric=metric, settings_id=settings))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    click.echo(f"wrote {output}")
