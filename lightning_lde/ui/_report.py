"""The study's report: one HTML file that needs nothing beside itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_lde.ui._charts import forest_chart, scatter_chart

if TYPE_CHECKING:
    from lightning_lde.study import StudyAnalysis


def study_report(analysis: StudyAnalysis) -> str:
    """The report as HTML text: tables, charts, and the query behind each of them.

    Args:
        analysis: What ``lightning_lde.study.analyse`` returned.
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
    return template.render(
        analysis=analysis,
        queries={query.name: query for query in analysis.queries},
        values={(result.label, one.dataset_id): one for result in analysis.configurations for one in result.points},
        scatter=scatter_chart(analysis),
        forests=[(result, forest_chart(result, analysis.metric)) for result in analysis.effects],
        verdict=verdict(analysis),
    )


def verdict(analysis: StudyAnalysis) -> list[str]:
    """What the figures allow to say, in sentences."""
    results = analysis.configurations
    n = max(result.correlation.n for result in results)
    significant = [result.label for result in results if result.p_holm < 0.05]
    clear = [one for one in analysis.comparisons if one.p_holm < 0.05]
    needed = [result.n_required for result in results if result.n_required is not None]
    sentences = [
        f"Over {n} data sets, {analysis.metric} is correlated with diversity at the 5 % level (Holm) for "
        + (
            f"{len(significant)} of {len(results)} configurations: {', '.join(significant)}."
            if significant
            else f"none of {len(results)} configurations."
        ),
        f"The correlation of MAML differs from that of pretraining at the 5 % level (Williams, Holm) in "
        f"{len(clear)} of {len(analysis.comparisons)} comparisons.",
    ]
    if needed:
        sentences.append(
            "To find correlations of the observed size with 80 % power, "
            f"{min(needed)} to {max(needed)} data sets are needed."
        )
    return sentences


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals, a dash where there is none.

    Example:
        >>> number(0.12345), number(None), number(float("nan"))
        ('0.123', '–', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign.

    Example:
        >>> signed(0.5), signed(-0.5)
        ('+0.500', '−0.500')
    """
    return "–" if value is None or math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def probability(value: float) -> str:
    """A p value; very small ones as a bound.

    Example:
        >>> probability(0.0321), probability(0.00002)
        ('0.032', '< 0.001')
    """
    if math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
