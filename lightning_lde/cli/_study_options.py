"""Options of whatever analyses a study: which runs, what was decided beforehand, what is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from lightning_lde.query import Lake
    from lightning_lde.study import StudyAnalysis

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--metric", default="accuracy", show_default=True, type=click.Choice(("accuracy", "loss"))),
    click.option("--settings", help="Settings of the study, the beginning of the id is enough; without it the newest."),
    click.option("--probe", help="Probe of the diversity, the beginning of its id; without it that of most data sets."),
    click.option(
        "--family", "families", multiple=True, metavar="NAME=SET,SET",
        help="Data sets that are not independent of each other count as one; repeat it for several families.",
    ),
    click.option(
        "--margin", type=float, default=0.01, show_default=True,
        help="Largest difference between methods that does not matter, in the unit of the metric.",
    ),
    click.option(
        "--smallest", type=float, default=0.2, show_default=True, help="Smallest R² that would be of interest."
    ),
    click.option(
        "--plots", type=click.Path(file_okay=False, path_type=Path), help="Write each figure there, as PNG and as SVG."
    ),
    click.option(
        "--record/--no-record", default=True, show_default=True, help="Write the figures into the lake, once."
    ),
)  # fmt: skip


def analysis_options(function: _Function) -> _Function:
    """The options that `study_analysis` takes, besides ``plots`` and ``record``."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def study_analysis(
    lake: Lake,
    project: str,
    *,
    metric: str,
    settings: str | None,
    probe: str | None,
    families: tuple[str, ...],
    margin: float,
    smallest: float,
) -> StudyAnalysis:
    """Analyse a study as the options say.

    Raises:
        click.UsageError: If a family is not NAME=SET,SET, or a data set is of two families.
    """
    from lightning_lde.study import AnalysisOptions, analyse

    options = AnalysisOptions(
        margin=margin, smallest_r_squared=smallest, families=parsed_families(families), probe_id=probe
    )
    return analyse(lake, project=project, metric=metric, settings_id=settings, options=options)


def parsed_families(words: tuple[str, ...]) -> dict[str, str]:
    """By data set its family.

    Raises:
        click.UsageError: If one is not NAME=SET,SET, or a data set is of two families.

    Example:
        >>> parsed_families(("sound=esc10,fsdd",))
        {'esc10': 'sound', 'fsdd': 'sound'}
    """
    found: dict[str, str] = {}
    for word in words:
        family, equals, names = word.partition("=")
        members = [name.strip() for name in names.split(",") if name.strip()]
        if not (equals and family and members):
            raise click.UsageError(f"--family {word!r} is not NAME=SET,SET")
        if twice := [name for name in members if name in found]:
            raise click.UsageError(f"data set {twice[0]!r} is of two families, {found[twice[0]]!r} and {family!r}")
        found |= dict.fromkeys(members, family)
    return found


def written(lake: Lake, analysis: StudyAnalysis, *, record: bool, plots: Path | None) -> str | None:
    """Write the figures into the lake and the plots into their folder, where that is asked for.

    A lake that cannot be written is said, and no error: the figures are there.

    Returns:
        The id of the result in the lake, None where it was not written.
    """
    from lightning_lde.errors import StoreError
    from lightning_lde.study import record_analysis
    from lightning_lde.ui import save_figures

    if plots is not None:
        click.echo(f"wrote {len(save_figures(analysis, plots))} files into {plots}", err=True)
    if not record:
        return None
    try:
        result_id = record_analysis(lake, analysis)
    except (StoreError, OSError) as error:
        click.echo(f"the figures were not written into the lake (--no-record does not try): {error}", err=True)
        return None
    click.echo(f"the figures are result {result_id} of the lake", err=True)
    return result_id
