"""Subcommand variability: how much a metric varies over repetitions, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import (
    open_lake,
    project_of,
    project_option,
    split_words,
    storage_options,
)
from lightning_lde.cli._output import print_json, print_table

if TYPE_CHECKING:
    from lightning_lde.study import RepetitionGroup, VariabilityAnalysis

_COMPONENT = (
    "levels", "degrees_of_freedom", "variance", "variance_low", "variance_high", "share", "share_low", "share_high",
    "reason",
)  # fmt: skip


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] METRIC")
@project_option
@click.option(
    "--take", type=click.Choice(("last", "min", "max")), default="last", show_default=True, help="Which value."
)
@click.option(
    "--by",
    metavar="WORDS",
    default="dataset_config,environment,code,seed",
    show_default=True,
    help="What repetitions may differ in: also dataset, experiment, name, tag:NAME.",
)
@click.option(
    "--group",
    metavar="WORDS",
    default="pipeline_config,dataset",
    show_default=True,
    help="What repetitions must share, in the same words.",
)
@click.option("--ignore", multiple=True, metavar="KEY", help="Hyper-parameter that is no setting, such as seed.")
@click.option("--difference", type=float, help="Count the seeds that find such a difference.")
@click.option("--queries", is_flag=True, help="Write the SQL behind the figures.")
@click.option("--format", "form", type=click.Choice(("text", "json", "csv")), default="text", show_default=True)
@storage_options
def variability(
    words: tuple[str, ...],
    project: str | None,
    take: str,
    by: str,
    group: str,
    ignore: tuple[str, ...],
    difference: float | None,
    queries: bool,
    form: str,
    options: tuple[str, ...],
) -> None:
    """Say how much METRIC varies over repetitions, and how much of it by seed, split, environment and code.

    METRIC is a metric's name, or episodes.accuracy or episodes.loss for the mean over evaluated tasks. Runs are
    repetitions where they share pipeline configuration and data set.
    """
    from lightning_lde.study import analyse_variability
    from lightning_lde.ui import variability_text

    url, metric = split_words(words, "METRIC")
    lake = open_lake(url, options)
    analysis = analyse_variability(
        lake,
        project=project_of(lake, project),
        metric=metric,
        take=take,
        by=_split(by),
        group=_split(group),
        ignore=ignore,
        difference=difference,
    )
    if form == "json":
        print_json(as_dict(analysis))
    elif form == "csv":
        _print_csv(analysis)
    else:
        click.echo(variability_text(analysis, with_queries=queries))


def as_dict(analysis: VariabilityAnalysis) -> dict[str, Any]:
    """All figures of an analysis as nested dicts and lists, with the queries and without their rows."""
    from dataclasses import asdict

    found = {name: value for name, value in vars(analysis).items() if name not in {"groups", "duplicates", "queries"}}
    return {
        **found,
        "groups": [asdict(group) for group in analysis.groups],
        "duplicates": [asdict(one) for one in analysis.duplicates],
        "queries": [{"name": one.name, "sql": one.sql, "n_rows": len(one.rows)} for one in analysis.queries],
    }


def _print_csv(analysis: VariabilityAnalysis) -> None:
    import pyarrow as pa

    rows = [row for group in analysis.groups for row in _rows(group, analysis)]
    # Not from the rows alone: a group whose values are all equal has no components.
    names = list(dict.fromkeys([name for row in rows for name in row] or ["group", *_COMPONENT]))
    print_table(pa.table({name: [row.get(name) for row in rows] for name in names}), "csv")
    # Standard output is the table alone, so that a program can read it.
    for sentence in (*(one.message for one in analysis.duplicates), *analysis.notes):
        click.echo(sentence, err=True)


def _rows(group: RepetitionGroup, analysis: VariabilityAnalysis) -> list[dict[str, Any]]:
    found, seeds = group.decomposition, group.seeds
    common = {
        "group": group.label,
        **group.key,
        "metric": analysis.metric,
        "n_runs": len(group.runs),
        "n_cells": len(group.cells),
        "n": found.n if found else len(group.runs),
        "mean": found.mean if found else group.overall.mean,
        "mean_low": found.mean_low if found else None,
        "mean_high": found.mean_high if found else None,
        "sd": group.overall.sd,
        "sd_over_seeds": seeds.sd if seeds else None,
        "sd_over_seeds_low": seeds.low if seeds else None,
        "sd_over_seeds_high": seeds.high if seeds else None,
        "query": analysis.queries[0].name,
    }
    if found is None:
        return [common]
    rows = [(one, False) for one in found.components] + [(found.residual, True)]
    return [
        {**common, "component": one.name, "is_residual": last, **{name: getattr(one, name) for name in _COMPONENT}}
        for one, last in rows
    ]


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())
