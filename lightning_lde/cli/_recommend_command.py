"""Subcommand recommend: what to try first on a data set, from what is known of others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import PROJECT_VARIABLE, open_lake, storage_options
from lightning_lde.cli._output import print_json

if TYPE_CHECKING:
    from lightning_lde.query import Advice, Lake, PastResults
    from lightning_lde.recommend import ResultTable


@click.command()
@click.argument("url", required=False)
@click.option("--metric", required=True, help="Metric, or episodes.accuracy or episodes.loss; with --table a column.")
@click.option("--data-set", "dataset", metavar="NAME", help="Data set: name, id or the beginning of one.")
@click.option(
    "--descriptors", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with numbers that describe a data set that nobody recorded.",
)  # fmt: skip
@click.option("-k", default=5, show_default=True, type=click.IntRange(min=1), help="How many configurations.")
@click.option("--mode", type=click.Choice(("max", "min")), default="max", show_default=True, help="What is better.")
@click.option(
    "--of-run", type=click.Choice(("last", "min", "max")), default="last", show_default=True,
    help="What counts of a run.",
)  # fmt: skip
@click.option("--project", envvar=PROJECT_VARIABLE, help="Only runs of this project.")
@click.option("--ignore", multiple=True, metavar="KEY", help="Hyper-parameter or column that is no setting.")
@click.option("--single", is_flag=True, help="Learn from single runs instead of means over repetitions.")
@click.option("--afresh", is_flag=True, help="Recommend as if nothing had been tried on the data set itself.")
@click.option(
    "--table", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Results from a CSV, TSV or Parquet file instead of a lake.",
)  # fmt: skip
@click.option("--table-data-set", default="dataset", show_default=True, help="Column of the file with the data set.")
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the first configuration as YAML for LightningCLI.",
)  # fmt: skip
@click.option("--with-class", is_flag=True, help="Name the model's class in that file (class_path, init_args).")
@click.option("--evaluate", is_flag=True, help="Say what aggregation gains, by leaving out one data set at a time.")
@click.option("--format", "form", type=click.Choice(("table", "json", "yaml")), default="table", show_default=True)
@storage_options
def recommend(
    url: str | None,
    metric: str,
    dataset: str | None,
    descriptors: Path | None,
    k: int,
    mode: str,
    of_run: str,
    project: str | None,
    ignore: tuple[str, ...],
    single: bool,
    afresh: bool,
    table: Path | None,
    table_data_set: str,
    config: Path | None,
    with_class: bool,
    evaluate: bool,
    form: str,
    options: tuple[str, ...],
) -> None:
    """Recommend what to try first on a data set, with the expected metric, and the runs on others that say so.

    Settings are what differs between runs of one model on one data set. What was reached on the data set itself counts
    as tried. --format yaml writes the first configuration for LightningCLI.
    """
    from lightning_lde.query import advise

    if table and url:
        raise click.UsageError(f"results of {url} or of --table {table}? Give one of them")
    lake = None if table else open_lake(url, options)
    results: PastResults | ResultTable
    if lake is None:
        results = _of_file(table, metric, table_data_set, mode, ignore)
    else:
        results = lake.results(
            metric, mode=mode, of_run=of_run, project=project, aggregate=not (single or evaluate), ignore=ignore
        )
    if evaluate:
        _print_gain(results, form)
        return
    if dataset is None and descriptors is None:
        raise click.UsageError("for which data set? Give --data-set NAME, or --descriptors FILE of a new one")
    advice = advise(results, dataset, _described(descriptors), k=k, single=single, afresh=afresh)
    if form == "json":
        print_json(advice.to_dict())
    elif form == "yaml":
        click.echo(config_of(advice, lake, with_class=with_class), nl=False)
    else:
        from lightning_lde.ui import recommendation_text

        click.echo(recommendation_text(advice))
    if config is not None:
        config.write_text(config_of(advice, lake, with_class=with_class), encoding="utf-8")
        click.echo(f"wrote {config}", err=True)


def config_of(advice: Advice, lake: Lake | None, *, with_class: bool = False) -> str:
    """The first proposal as a file for LightningCLI, with what it is in comments."""
    from lightning_lde.query import config_text, lightning_config

    if not advice.recommendation.proposals:
        raise click.UsageError("nothing is left to try: every configuration that is known was tried on this data set")
    first = advice.recommendation.proposals[0]
    by_dataset = advice.runs.get(first.configuration, {})
    runs: Sequence[str] = next((by_dataset[one.dataset] for one in first.evidence if one.dataset in by_dataset), ())
    found = lightning_config(first.settings, lake=lake, runs=runs, with_class=with_class)
    notes = [
        f"configuration {first.configuration} for {advice.dataset or 'a described data set'}: "
        f"{advice.recommendation.metric} {first.mean:.4g} [{first.low:.4g}, {first.high:.4g}] expected"
    ]
    if runs:
        notes.append(f"hyper-parameters that do not vary are those of run {runs[0]}")
    return config_text(found, notes)


def _of_file(path: Path | None, metric: str, dataset: str, mode: str, ignore: Sequence[str]) -> ResultTable:
    from lightning_lde.recommend import ResultTable

    if path is None:
        raise click.UsageError("no table: give --table FILE")
    return ResultTable.from_file(path, dataset=dataset, metric=metric, ignore=ignore, maximize=mode == "max")


def _described(path: Path | None) -> Mapping[str, float | None] | None:
    if path is None:
        return None
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{path} is not JSON: {error}") from error
    numbers = (int, float, type(None))
    if not isinstance(found, dict) or not all(isinstance(value, numbers) for value in found.values()):
        raise click.UsageError(f'{path} is not a JSON object of numbers, such as {{"log samples": 8.5}}')
    return found


def _print_gain(results: PastResults | ResultTable, form: str) -> None:
    from lightning_lde.query import PastResults
    from lightning_lde.recommend import gain_of_aggregation
    from lightning_lde.ui import gain_text

    gain = gain_of_aggregation(results.table if isinstance(results, PastResults) else results)
    if form == "json":
        print_json(gain.to_dict())
    else:
        click.echo(gain_text(gain))
