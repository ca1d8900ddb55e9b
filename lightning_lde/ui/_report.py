"""The study's report: one HTML file that needs nothing beside itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_lde.ui._figures import study_figures
from lightning_lde.ui._verdict import verdict
from lightning_lde.ui._words import number, probability, signed

if TYPE_CHECKING:
    from lightning_lde.study import StudyAnalysis


def study_report(analysis: StudyAnalysis, *, result_id: str | None = None) -> str:
    """The report as HTML text: tables, charts, and the query behind each of them.

    The same analysis gives the same bytes.

    Args:
        analysis: What ``lightning_lde.study.analyse`` returned.
        result_id: The result as which the lake holds the figures, None where it does not.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lightning_lde.ui"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "signed": signed, "probability": probability}
    template = environment.get_template("study.html")
    figures = study_figures(analysis)
    return template.render(
        analysis=analysis,
        result_id=result_id,
        queries={query.name: query for query in analysis.queries},
        values={(result.label, one.dataset_id): one for result in analysis.configurations for one in result.points},
        figures={figure.name: figure for figure in figures},
        forests=[figure for figure in figures if figure.name.startswith("forest")],
        verdict=verdict(analysis),
    )
