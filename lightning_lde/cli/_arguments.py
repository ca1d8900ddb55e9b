"""Arguments and options that the subcommands of `lde` share."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import click

from lightning_lde.cli._output import FORMATS
from lightning_lde.query import Lake

URL_VARIABLE = "LDE_URI"
PROJECT_VARIABLE = "LDE_PROJECT"

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def duration(text: str) -> timedelta:
    """A number with a unit: ``90s``, ``10m``, ``24h``, ``7d``; ``0`` needs none.

    Raises:
        click.BadParameter: If it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])|0", text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration: write 90s, 10m, 24h or 7d")
    return timedelta(seconds=float(found[1]) * _UNITS_S[found[2]] if found[1] else 0.0)


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


def open_lake(url: str | None, options: tuple[str, ...]) -> Lake:
    """The lake of an argument or of the variable.

    Raises:
        click.UsageError: If neither names one, or an option is not KEY=VALUE.
    """
    address = url or os.environ.get(URL_VARIABLE)
    if not address:
        raise click.UsageError(f"no lake: give its URL, or set {URL_VARIABLE}")
    return Lake(address, parsed_options(options))


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


def parsed_options(options: tuple[str, ...]) -> dict[str, Any]:
    """Storage options of a command line as a dict; ``true`` and ``false`` become booleans, ``{…}`` is read as JSON.

    Raises:
        click.UsageError: If one is not KEY=VALUE, or no JSON although it begins so.
    """
    pairs = [option.partition("=") for option in options]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.UsageError(f"--storage-option {wrong[0]!r} is not KEY=VALUE")
    return {name: _option_value(name, value) for name, _, value in pairs}


def _option_value(name: str, value: str) -> Any:
    if value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError as error:
            raise click.UsageError(f"--storage-option {name} is not JSON: {error}") from error
    return {"true": True, "false": False}.get(value.lower(), value)
