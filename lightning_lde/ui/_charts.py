"""Charts over data sets: metric against diversity, and MAML minus pretraining."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lightning_lde.statistics import regression_band
from lightning_lde.ui._drawing import BLUE, GREY, ORANGE, half_width, short, styled, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lightning_lde.study import ConfigurationResult, EffectResult, StudyAnalysis

_COLUMNS = 3


def scatter_chart(analysis: StudyAnalysis) -> Figure:
    """Metric against diversity, one panel per configuration, with the line and its confidence band."""
    results = analysis.configurations
    rows = math.ceil(len(results) / _COLUMNS)
    with styled():
        figure, axes = subplots(rows, min(_COLUMNS, len(results)), width=3.7, height=3.2)
        for axis, result in zip(axes, results, strict=False):
            _scatter_panel(axis, result, analysis.metric)
        for axis in axes[len(results) :]:
            axis.set_visible(False)
        return figure


def forest_chart(result: EffectResult, metric: str) -> Figure:
    """The effect per data set with its interval and the margin, the pooled effect below."""
    ordered = sorted(result.effects, key=lambda effect: effect.difference)
    pooled = result.heterogeneity
    with styled():
        figure, (axis,) = subplots(1, 1, width=5.6, height=0.24 * len(ordered) + 1.3)
        margin = result.equivalence
        axis.axvspan(margin.margin_low, margin.margin_high, color=GREY, alpha=0.15, linewidth=0)
        for place, effect in enumerate(ordered, start=2):
            half = half_width(math.sqrt(effect.variance), effect.n_tasks)
            axis.errorbar(effect.difference, place, xerr=half, fmt="o", color=BLUE, markersize=4, capsize=2)
        axis.errorbar(
            pooled.mean,
            0.5,
            xerr=[[pooled.mean - pooled.low], [pooled.high - pooled.mean]],
            fmt="D",
            color=ORANGE,
            capsize=3,
        )
        names = [f"{short(effect.dataset)} ({effect.n_tasks})" for effect in ordered]
        axis.set_yticks([0.5, *range(2, len(ordered) + 2)], ["mean over data sets", *names])
        axis.axvline(0, color=GREY, linewidth=0.8)
        axis.set_title(f"{result.label}, minus pretraining", fontsize=9)
        axis.set_xlabel(f"difference of {metric}, 95 % interval (tasks in brackets)")
        return figure


def _scatter_panel(axis: Axes, result: ConfigurationResult, metric: str) -> None:
    diversity = np.array([point.diversity for point in result.points])
    values = np.array([point.value for point in result.points])
    at = np.linspace(diversity.min(), diversity.max(), 60)
    mean, low, high = regression_band(diversity, values, at)
    axis.fill_between(at, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axis.plot(at, mean, color=BLUE, linewidth=1.2)
    errors = [half_width(point.sd / math.sqrt(point.n_tasks), point.n_tasks) for point in result.points]
    axis.errorbar(diversity, values, yerr=errors, fmt="o", color=ORANGE, markersize=4, linewidth=0.8)
    _label_points(axis, result)
    found = result.correlation
    axis.set_title(
        f"{result.label}\nn = {found.n}, R² = {found.r_squared:.2f} "
        f"[{result.r_squared_bounds[0]:.2f}, {result.r_squared_bounds[1]:.2f}], p = {result.p:.3f}",
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
            axis.annotate(short(point.dataset), place, (4, 3), textcoords="offset points", fontsize=7, color=GREY)
