"""The subcommand that sets runs side by side."""

from __future__ import annotations

import os
from pathlib import Path

import click

from lightning_lde.cli._arguments import URL_VARIABLE, open_lake, storage_options


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] RUN RUN...")
@click.option("--all", "everything", is_flag=True, help="Show what is equal, too, and every line of a diff.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@click.option(
    "--repository",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder in the git repository that may have the commits, for the diff of the code.",
)
@click.option(
    "--window", default=10, show_default=True, type=click.IntRange(min=1), help="Last points to take the mean of."
)
@click.option(
    "--tolerance", default=1e-6, show_default=True, type=float, help="Relative difference up to which points are near."
)
@click.option("--absolute-tolerance", default=0.0, show_default=True, type=float, help="The same, absolute.")
@storage_options
def compare(
    words: tuple[str, ...],
    everything: bool,
    form: str,
    repository: Path,
    window: int,
    tolerance: float,
    absolute_tolerance: float,
    options: tuple[str, ...],
) -> None:
    """Set two or more RUNs side by side: ids, beginnings of ids, or unique names.

    Only what differs is shown. The first run is the one that the others are compared with.
    """
    from lightning_lde.cli._comparison import print_comparison
    from lightning_lde.cli._output import print_json
    from lightning_lde.query import compare_runs

    url, runs = url_and_runs(words)
    comparison = compare_runs(
        open_lake(url, options),
        runs,
        repository=repository,
        window=window,
        tolerance=tolerance,
        absolute_tolerance=absolute_tolerance,
    )
    if form == "json":
        print_json(comparison.as_dict(everything=everything))
    else:
        print_comparison(comparison, everything=everything)


def url_and_runs(words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """The lake's address, None where the variable names it, and the runs.

    The first word is the address unless the variable is set; then it is one if it reads like an address or is a lake.
    """
    has_variable = bool(os.environ.get(URL_VARIABLE))
    if has_variable and "://" not in words[0] and not Path(words[0], "lde.json").is_file():
        return None, words
    return words[0], words[1:]
