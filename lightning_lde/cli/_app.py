"""The `lde` command: its subcommands, their arguments and how errors end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from lightning_lde import __version__
from lightning_lde.cli._output import FORMATS, print_json, print_table
from lightning_lde.errors import LDEError
from lightning_lde.query import Lake

URL_VARIABLE = "LDE_URI"
PROJECT_VARIABLE = "LDE_PROJECT"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def main() -> None:
    """Entry point of `lde`."""
    run_command(app)


def run_command(command: click.Command) -> None:
    """Run a click command so that an error is one line on standard error and exit code 2.

    Args:
        command: The command; its words come from ``sys.argv``.
    """
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe such as `| head` has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (LDEError, OSError) as error:
        program = command.name if command is app else Path(sys.argv[0]).name
        click.echo(f"{program}: {' '.join(str(error).split())}", err=True)
        sys.exit(2)


@click.group("lde", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lde")
def app() -> None:
    """The lifelong database of experiments for PyTorch Lightning.

    URL is a folder or an address such as s3://bucket/prefix; without it the variable LDE_URI counts.
    """


def storage_options(function: _Function) -> _Function:
    """The option that configures the lake's storage."""
    return click.option(
        "--storage-option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the storage, as fsspec names it; repeat it for several.",
    )(function)


def output_format(function: _Function) -> _Function:
    """The option that chooses the output's form."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="Form of the output.",
    )(function)


def project_option(function: _Function) -> _Function:
    """The option that names a project; without it a lake with one project needs none."""
    return click.option("--project", envvar=PROJECT_VARIABLE, help="Project; not needed where the lake has only one.")(
        function
    )


@app.command()
@click.argument("url", required=False)
@storage_options
def init(url: str | None, options: tuple[str, ...]) -> None:
    """Make a lake at URL. One that is there stays as it is."""
    lake = open_lake(url, options)
    made = lake.storage.initialise()
    click.echo(f"{'made a lake at' if made else 'there is a lake already at'} {lake.url}")


@app.command()
@click.argument("url", required=False)
@click.option("--where", default="true", help="Condition in SQL over the columns of runs.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="Most rows to show.")
@output_format
@storage_options
def runs(url: str | None, where: str, limit: int, form: str, options: tuple[str, ...]) -> None:
    """List runs, newest first."""
    lake = open_lake(url, options)
    found = lake.sql(
        f"""select r.run_id, r.project, r.name, r.status, r.started_at, r.duration_s,
                   d.name as dataset, p.module_class as module, r.seed
            from (select * from runs where {where}) r
            left join dataset_configs using (dataset_config_id) left join datasets d using (dataset_id)
            left join pipeline_configs using (pipeline_config_id) left join pipelines p using (pipeline_id)
            order by r.started_at desc, run_id desc limit {limit}"""
    )
    print_table(found, form)


@app.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] RUN")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def show(words: tuple[str, ...], form: str, options: tuple[str, ...]) -> None:
    """Show all that is known of RUN: an id, the beginning of one, or a unique name."""
    from lightning_lde.cli._show import print_run
    from lightning_lde.query import run_details

    url, run = split_words(words, "RUN")
    details = run_details(open_lake(url, options), run)
    if form == "json":
        print_json(details.as_dict())
    else:
        print_run(details)


@app.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] QUERY")
@output_format
@storage_options
def sql(words: tuple[str, ...], form: str, options: tuple[str, ...]) -> None:
    """Run QUERY, in DuckDB's SQL, over the lake's tables."""
    url, query = split_words(words, "QUERY")
    print_table(open_lake(url, options).sql(query), form)


@app.command()
@click.argument("url", required=False)
@project_option
@click.option("--metric", default="accuracy", show_default=True, type=click.Choice(("accuracy", "loss")))
@output_format
@storage_options
def correlate(url: str | None, project: str | None, metric: str, form: str, options: tuple[str, ...]) -> None:
    """Correlate a metric with the diversity of data sets, per configuration."""
    from lightning_lde.cli._tables import correlation_table
    from lightning_lde.study import analyse

    lake = open_lake(url, options)
    print_table(correlation_table(analyse(lake, project=project_of(lake, project), metric=metric)), form)


@app.command()
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
@storage_options
def report(url: str | None, output: Path, project: str | None, metric: str, options: tuple[str, ...]) -> None:
    """Write the study's report as one HTML file."""
    from lightning_lde.study import analyse
    from lightning_lde.ui import study_report

    lake = open_lake(url, options)
    page = study_report(analyse(lake, project=project_of(lake, project), metric=metric))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    click.echo(f"wrote {output}")


def open_lake(url: str | None, options: tuple[str, ...]) -> Lake:
    """The lake of an argument or of the variable.

    Raises:
        click.UsageError: If neither names one, or an option is not KEY=VALUE.
    """
    address = url or os.environ.get(URL_VARIABLE)
    if not address:
        raise click.UsageError(f"no lake: give its URL, or set {URL_VARIABLE}")
    return Lake(address, _parsed(options))


def split_words(words: tuple[str, ...], what: str) -> tuple[str | None, str]:
    """An optional URL and one more word.

    Raises:
        click.UsageError: If there are more than two words.
    """
    if len(words) > 2:
        raise click.UsageError(f"expected [URL] {what}, got {len(words)} words: put {what} in quotes")
    return (words[0] if len(words) == 2 else None), words[-1]


def project_of(lake: Lake, project: str | None) -> str:
    """The project that was named, or the only one.

    Raises:
        click.UsageError: If none was named and the lake has several, or none.
    """
    if project is not None:
        return project
    found = lake.sql("select distinct project from runs order by project").column("project").to_pylist()
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise click.UsageError(f"name a --project; the lake at {lake.url} has: {names}")
    return str(found[0])


def _parsed(options: tuple[str, ...]) -> dict[str, Any]:
    pairs = [option.partition("=") for option in options]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.UsageError(f"--storage-option {wrong[0]!r} is not KEY=VALUE")
    words = {"true": True, "false": False}
    return {name: words.get(value.lower(), value) for name, _, value in pairs}
