"""Subcommand diversity: what the stored embeddings say of each data set; nothing is trained or embedded."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import PROJECT_VARIABLE, open_lake, output_format, storage_options
from lightning_lde.cli._output import print_json, print_sentences, print_table

if TYPE_CHECKING:
    from lightning_lde.query import Lake
    from lightning_lde.study import DatasetDiversity, ProbeSensitivity


class _TableByDefault(click.Group):
    """A group whose first word may be a lake: then its table is printed."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in context.help_option_names):
            args = ["table", *args]
        return super().parse_args(context, args)


@click.group(cls=_TableByDefault)
def diversity() -> None:
    """Say how diverse each data set of a lake is.

    `lde diversity URL` is `lde diversity table URL`. A lake in a folder that is called like a subcommand is ./table.
    """


@diversity.command()
@click.argument("url", required=False)
@click.option("--project", envvar=PROJECT_VARIABLE, help="Only data sets that a run of this project used.")
@click.option("--probe", help="Id of the probe, its beginning is enough; without it the one of the main figures.")
@click.option("--probes", is_flag=True, help="The coefficient by each probe, and how far probes agree.")
@output_format
@storage_options
def table(
    url: str | None, project: str | None, probe: str | None, probes: bool, form: str, options: tuple[str, ...]
) -> None:
    """Print the diversity of each data set, from embeddings that the lake holds.

    analysis/diversity.py makes them. Nothing is trained, embedded or written here.
    """
    if probes and probe:
        raise click.UsageError("--probes is about all probes: leave out --probe")
    lake = open_lake(url, options)
    if probes:
        _print_sensitivity(lake, project, form)
    else:
        _print_diversities(lake, project, probe, form)


def _print_diversities(lake: Lake, project: str | None, probe: str | None, form: str) -> None:
    import pyarrow as pa

    from lightning_lde.study import dataset_diversities

    found = dataset_diversities(lake, project=project, probe_id=probe)
    if not found:
        raise click.UsageError(_nothing(lake, project))
    rows = [diversity_row(one) for one in sorted(found, key=lambda one: one.coefficient.value)]
    if form == "table":
        print_table(pa.Table.from_pylist([_short(row) for row in rows]), form)
        print_sentences([f"{_tasks_words(found)}; probe {found[0].probe or 'without a name'}, {found[0].probe_id}"])
    else:
        print_table(pa.Table.from_pylist(rows), form)
    # Standard output is the table alone where a program may read it.
    for note in dict.fromkeys(one.coefficient.note for one in found if one.coefficient.note):
        click.echo(note, err=True)


def diversity_row(one: DatasetDiversity) -> dict[str, Any]:
    """All figures of a data set as one flat row."""
    found, features, effective = one.coefficient, one.mean_features, one.effective
    return {
        "dataset": one.dataset,
        "diversity": found.value,
        "low": found.low,
        "high": found.high,
        "with_noise": found.plain,
        "noise": found.noise,
        "cosine": one.cosine.value,
        "standardised": one.standardised.value,
        "standardised_low": one.standardised.low,
        "standardised_high": one.standardised.high,
        "effective": effective.value if effective else None,
        "effective_low": effective.low if effective else None,
        "effective_high": effective.high if effective else None,
        "vendi": one.vendi,
        "mean_features": features.value if features else None,
        "mean_features_low": features.low if features else None,
        "mean_features_high": features.high if features else None,
        "complexity": one.complexity.value,
        "n_tasks": one.n_tasks,
        "n_images": one.n_images,
        "ways": one.ways,
        "images_per_class": one.images_per_class,
        "confidence": found.confidence,
        "embedding": one.embedding,
        "method": one.method,
        "probe": one.probe,
        "probe_id": one.probe_id,
        "dataset_id": one.dataset_id,
        "dataset_config_id": one.dataset_config_id,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """The columns that people compare, with as many digits as mean something."""
    shown = ("noise", "cosine", "standardised", "effective", "vendi", "mean_features", "complexity")
    return {
        "data set": row["dataset"],
        "diversity": _digits(row["diversity"]),
        "95 % interval": f"[{row['low']:.4f}, {row['high']:.4f}]",
        **{name.replace("_", " "): _digits(row[name]) for name in shown},
        "tasks": row["n_tasks"],
    }


def _digits(value: float | None) -> float | None:
    return None if value is None else round(value, 4 if abs(value) < 1 else 2)


def _tasks_words(found: list[DatasetDiversity]) -> str:
    return f"tasks of {found[0].ways} classes with {found[0].images_per_class} images each"


def _print_sensitivity(lake: Lake, project: str | None, form: str) -> None:
    import pyarrow as pa

    from lightning_lde.study import probe_sensitivity, sensitivity_lines

    found = probe_sensitivity(lake, project=project)
    if not found.probes:
        raise click.UsageError(_nothing(lake, project))
    agreements = [asdict(one) for one in found.agreements]
    if form == "json":
        print_json({"diversities": sensitivity_rows(found), "agreements": agreements})
        return
    if form != "table":
        print_table(pa.Table.from_pylist(sensitivity_rows(found)), form)
        return
    print_sentences(sensitivity_lines(found))


def sensitivity_rows(found: ProbeSensitivity) -> list[dict[str, Any]]:
    """One row for each data set and probe."""
    return [
        {
            "dataset": dataset,
            "probe": name,
            "probe_id": probe,
            "diversity": one.coefficient.value,
            "low": one.coefficient.low,
            "high": one.coefficient.high,
            "noise": one.coefficient.noise,
            "n_tasks": one.n_tasks,
        }
        for dataset, measured in zip(found.datasets, found.diversities, strict=True)
        for name, probe, one in zip(found.names, found.probes, measured, strict=True)
        if one is not None
    ]


def _nothing(lake: Lake, project: str | None) -> str:
    where = f"the lake at {lake.url}" if project is None else f"project {project!r} of the lake at {lake.url}"
    return f"{where} has no data set with three embedded tasks: measure with `python analysis/diversity.py --help`"
