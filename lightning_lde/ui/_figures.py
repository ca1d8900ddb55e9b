"""The figures of a study: what each shows, its caption with n, interval and query, and its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lde.ui._charts import forest_chart, scatter_chart
from lightning_lde.ui._drawing import png_of, svg_file_of, svg_of
from lightning_lde.ui._heat_map import heat_map
from lightning_lde.ui._slope_charts import MOST_MEASURES, sensitivity_chart, slopes_chart
from lightning_lde.ui._words import amount_with_interval, number, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_lde.study import EffectResult, StudyAnalysis, TaskDistances


@dataclass(frozen=True)
class StudyFigure:
    """A figure and all that has to stand beside it.

    Attributes:
        name: A name for files.
        title: What it shows.
        caption: n, what the intervals are, and the query that its numbers come from.
        alternative: The same for those who cannot see it.
        drawn: matplotlib's figure.
    """

    name: str
    title: str
    caption: str
    alternative: str
    drawn: Figure

    @property
    def svg(self) -> str:
        """An SVG element for a page."""
        return svg_of(self.drawn, f"{self.title}. {self.alternative}")


def study_figures(analysis: StudyAnalysis) -> tuple[StudyFigure, ...]:
    """All figures that the figures of an analysis allow.

    Args:
        analysis: What ``lightning_lde.study.analyse`` returned.
    """
    found = [_scatter(analysis), _slopes(analysis), _sensitivity(analysis)]
    if analysis.distances is not None and len(analysis.distances.datasets) > 1:
        found.append(_heat_map(analysis.distances))
    return (*found, *_forests(analysis))


def save_figures(analysis: StudyAnalysis, folder: Path) -> list[Path]:
    """Write each figure as PNG and as SVG, with its caption inside the file.

    Args:
        analysis: What ``lightning_lde.study.analyse`` returned.
        folder: Where; it is made if it is not there.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in study_figures(analysis):
        for suffix, draw in (("png", png_of), ("svg", svg_file_of)):
            path = folder / f"{figure.name}.{suffix}"
            path.write_bytes(draw(figure.drawn, figure.title, figure.caption))
            written.append(path)
    return written


def _scatter(analysis: StudyAnalysis) -> StudyFigure:
    words = [
        f"{one.label}: R² {number(one.correlation.r_squared, 2)} "
        f"[{number(one.r_squared_bounds[0], 2)}, {number(one.r_squared_bounds[1], 2)}]"
        for one in analysis.configurations
    ]
    return StudyFigure(
        "scatter",
        f"Test {analysis.metric} against diversity",
        f"n = {_n(analysis)} data sets, one point each: mean test {analysis.metric} (bars: 95 % over tasks, Student's "
        "t) against its diversity coefficient, with the least-squares line and the pointwise 95 % band of the mean. "
        "Queries: metric per data set and configuration; diversity per data set.",
        f"{_n(analysis)} data sets. {'; '.join(words)}. The numbers are in the tables.",
        scatter_chart(analysis),
    )


def _slopes(analysis: StudyAnalysis) -> StudyFigure:
    words = [f"{one.label} {amount_with_interval(*one.gain, analysis.metric)}" for one in analysis.configurations]
    return StudyFigure(
        "slopes",
        "Slopes over configurations",
        f"n = {_n(analysis)} data sets. Change of {analysis.metric} along the line from the least to the most diverse "
        "data set with its 95 % interval (Student's t; over families of data sets a wild bootstrap), alone and with "
        "covariates held fixed. Queries: metric per data set and configuration; diversity per data set.",
        f"{'; '.join(words)}.",
        slopes_chart(analysis),
    )


def _sensitivity(analysis: StudyAnalysis) -> StudyFigure:
    shown = analysis.measures[:MOST_MEASURES]
    left_out = len(analysis.measures) - len(shown)
    words = [
        f"{one.label}: " + ", ".join(f"{label} r = {signed(c.r, 2)}" for label, c in one.correlations.items())
        for one in shown
    ]
    more = f" {left_out} further measures stand in the table only." if left_out else ""
    return StudyFigure(
        "probe-sensitivity",
        "The same correlations by other probes and measures",
        f"n = {_n(analysis)} data sets or fewer, as the legend says. Pearson's r with its 95 % bootstrap interval over "
        f"data sets (BCa), by probe and method that measured diversity.{more} Queries: diversity by every probe and "
        "method; stored embeddings, `probe_sensitivity`.",
        f"{'; '.join(words)}.",
        sensitivity_chart(analysis),
    )


def _heat_map(distances: TaskDistances) -> StudyFigure:
    closest = sorted(distances.between.items(), key=lambda item: item[1].value)
    names = distances.datasets
    words = [f"{names[i]} and {names[j]} {number(one.value)}" for (i, j), one in (closest[0], closest[-1])]
    return StudyFigure(
        "heat-map",
        "Distances between tasks",
        f"n = {len(distances.labels)} tasks of {len(names)} data sets, by the probe "
        f"{distances.probe or distances.probe_id}. Cross-validated distances, in which noise may give a negative one; "
        "data sets that lie close stand side by side. Single distances have no interval, those between data sets do, "
        "in the table. Query: stored embeddings, `task_distances`.",
        f"Closest and farthest data sets by their mean distance: {'; '.join(words)}.",
        heat_map(distances),
    )


def _forests(analysis: StudyAnalysis) -> Iterator[StudyFigure]:
    for place, result in enumerate(analysis.effects, 1):
        yield StudyFigure(
            f"forest-{place}",
            f"{result.label} minus pretraining",
            f"n = {len(result.effects)} data sets, tasks of each in brackets: mean difference of {analysis.metric} on "
            "the same tasks with its 95 % interval over tasks (Student's t); below, the random-effects mean over data "
            f"sets with its 95 % interval (Hartung and Knapp). Grey: differences within the margin of "
            f"{analysis.options.margin:g}. Query: MAML and pretraining on the same tasks.",
            _forest_words(result, analysis.metric),
            forest_chart(result, analysis.metric),
        )


def _forest_words(result: EffectResult, metric: str) -> str:
    pooled = result.heterogeneity
    ordered = sorted(result.effects, key=lambda effect: effect.difference)
    ends = [f"{one.dataset} {signed(one.difference)}" for one in (ordered[0], ordered[-1])]
    mean = amount_with_interval(pooled.mean, pooled.low, pooled.high, metric)
    return f"Mean over {pooled.n} data sets {mean}; from {' to '.join(ends)}."


def _n(analysis: StudyAnalysis) -> int:
    return analysis.needs.n
