"""Charts of a study as SVG text, drawn by matplotlib."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from lightning_lde.statistics import regression_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lightning_lde.study import ConfigurationResult, EffectResult, StudyAnalysis

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"
_COLUMNS = 3
_LONGEST_NAME = 28
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "lightning-lde",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def scatter_chart(analysis: StudyAnalysis) -> str:
    """Metric against diversity, one panel per configuration, with the line and its confidence band."""
    results = analysis.configurations
    rows = math.ceil(len(results) / _COLUMNS)
    with _styled():
        figure, axes = _subplots(rows, min(_COLUMNS, len(results)), width=3.7, height=3.2)
        for axis, result in zip(axes, results, strict=False):
            _scatter_panel(axis, result, analysis.metric)
        for axis in axes[len(results) :]:
            axis.set_visible(False)
        return _svg(figure)


def forest_chart(result: EffectResult, metric: str) -> str:
    """The effect per data set with its interval, the pooled effect below."""
    ordered = sorted(result.effects, key=lambda effect: effect.difference)
    pooled = result.heterogeneity
    with _styled():
        figure, (axis,) = _subplots(1, 1, width=5.6, height=0.24 * len(ordered) + 1.3)
        for place, effect in enumerate(ordered, start=2):
            half = _half_width(math.sqrt(effect.variance), effect.n_tasks)
            axis.errorbar(effect.difference, place, xerr=half, fmt="o", color=BLUE, markersize=4, capsize=2)
        axis.errorbar(
            pooled.mean,
            0.5,
            xerr=[[pooled.mean - pooled.low], [pooled.high - pooled.mean]],
            fmt="D",
            color=ORANGE,
            capsize=3,
        )
        names = [f"{_short(effect.dataset)} ({effect.n_tasks})" for effect in ordered]
        axis.set_yticks([0.5, *range(2, len(ordered) + 2)], ["mean over data sets", *names])
        axis.axvline(0, color=GREY, linewidth=0.8)
        axis.set_title(f"{result.label}, minus pretraining", fontsize=9)
        axis.set_xlabel(f"difference of {metric}, 95 % interval (tasks in brackets)")
        return _svg(figure)


def _scatter_panel(axis: Axes, result: ConfigurationResult, metric: str) -> None:
    diversity = np.array([point.diversity for point in result.points])
    values = np.array([point.value for point in result.points])
    at = np.linspace(diversity.min(), diversity.max(), 60)
    mean, low, high = regression_band(diversity, values, at)
    axis.fill_between(at, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axis.plot(at, mean, color=BLUE, linewidth=1.2)
    errors = [_half_width(point.sd / math.sqrt(point.n_tasks), point.n_tasks) for point in result.points]
    axis.errorbar(diversity, values, yerr=errors, fmt="o", color=ORANGE, markersize=4, linewidth=0.8)
    _label_points(axis, result)
    found = result.correlation
    axis.set_title(
        f"{result.label}\nn = {found.n}, R² = {found.r_squared:.2f} "
        f"[{found.r_squared_low:.2f}, {found.r_squared_high:.2f}], p = {found.p_permutation:.3f}",
        fontsize=8,
    )
    axis.set_xlabel("diversity coefficient")
    axis.set_ylabel(f"test {metric}")


def _label_points(axis: Axes, result: ConfigurationResult) -> None:
    """Name the points, those far from the line first; a name that would cover another is left out."""
    found = result.correlation
    width = np.ptp([point.diversity for point in result.points]) * 0.30
    height = np.ptp([point.value for point in result.points]) * 0.07
    placed: list[tuple[float, float]] = []
    far_first = sorted(
        result.points, key=lambda point: -abs(point.value - found.intercept - found.slope * point.diversity)
    )
    for point in far_first:
        place = (point.diversity, point.value)
        if all(abs(place[0] - x) > width or abs(place[1] - y) > height for x, y in placed):
            placed.append(place)
            axis.annotate(_short(point.dataset), place, (4, 3), textcoords="offset points", fontsize=7, color=GREY)


def _half_width(standard_error: float, n: int) -> float:
    """Half of a 95 % interval of a mean of n values by Student's t; none for a single one."""
    return float(stats.t.ppf(0.975, n - 1)) * standard_error if n > 1 else 0.0


def _short(name: str) -> str:
    name = name.replace("_", " ")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _styled() -> Any:
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)


def _subplots(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    # Figure without pyplot: no global state, no display needed.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for row in axes for axis in row]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Text stays text in the SVG; the reader's browser has the characters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
