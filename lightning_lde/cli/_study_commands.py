"""Subcommands over a study: correlate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lightning_lde.cli._arguments import open_lake, output_format, project_of, project_option, storage_options
from lightning_lde.cli._output import print_json, print_sentences, print_table
from lightning_lde.cli._study_options import analysis_options, study_analysis, written


@click.command()
@click.argument("url", required=False)
@project_option
@analysis_options
@output_format
@storage_options
def correlate(
    url: str | None,
    project: str | None,
    form: str,
    options: tuple[str, ...],
    record: bool,
    plots: Path | None,
    **chosen: Any,
) -> None:
    """Correlate a metric with the diversity of data sets, per configuration.

    The table has one row per configuration; JSON has every figure of the analysis.
    """
    from lightning_lde.cli._tables import correlation_table
    from lightning_lde.study import analysis_figures, result_id_of
    from lightning_lde.ui import verdict

    lake = open_lake(url, options)
    analysis = study_analysis(lake, project_of(lake, project), **chosen)
    if form == "json":
        queries = [{"name": one.name, "sql": one.sql, "n_rows": len(one.rows)} for one in analysis.queries]
        figures = analysis_figures(analysis)
        print_json({"result_id": result_id_of(analysis), "verdict": verdict(analysis), **figures, "queries": queries})
    else:
        print_table(correlation_table(analysis), form)
    # Standard output is the table alone, so that a program can read it.
    print_sentences((*verdict(analysis), *analysis.notes), err=True)
    written(lake, analysis, record=record, plots=plots)


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
@analysis_options
@storage_options
def report(
    url: str | None,
    output: Path,
    project: str | None,
    options: tuple[str, ...],
    record: bool,
    plots: Path | None,
    **chosen: Any,
) -> None:
    """Write the study's report as one HTML file."""
    from lightning_lde.ui import study_report

    lake = open_lake(url, options)
    analysis = study_analysis(lake, project_of(lake, project), **chosen)
    result_id = written(lake, analysis, record=record, plots=plots)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(study_report(analysis, result_id=result_id), encoding="utf-8")
    click.echo(f"wrote {output}")
