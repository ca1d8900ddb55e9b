"""Charts over configurations: slopes with their intervals, and what another measure of diversity would give."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_lde.ui._drawing import BLUE, COLOURS, GREY, MARKERS, ORANGE, styled, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lightning_lde.study import ConfigurationResult, StudyAnalysis

# Labels beyond this many measures would cover each other.
MOST_MEASURES = len(MARKERS)


def slopes_chart(analysis: StudyAnalysis) -> Figure:
    """The change over the range of diversity per configuration, alone and beside all covariates."""
    results = analysis.configurations[::-1]
    with styled():
        figure, (axis,) = subplots(1, 1, width=7.4, height=0.38 * len(results) + 1.3)
        for place, result in enumerate(results):
            _bar(axis, place + 0.12, result.gain, colour=BLUE, marker="o", label="alone")
            if (adjusted := _adjusted(result)) is not None:
                _bar(axis, place - 0.16, adjusted, colour=ORANGE, marker="D", label="covariates held fixed")
        axis.axvline(0, color=GREY, linewidth=0.8)
        axis.set_yticks(range(len(results)), [f"{one.label} (n = {one.correlation.n})" for one in results])
        axis.set_xlabel(f"change of {analysis.metric} over the range of diversity, 95 % interval")
        _legend(figure, axis)
        return figure


def sensitivity_chart(analysis: StudyAnalysis) -> Figure:
    """The correlation of each configuration by every probe and method that measured diversity."""
    measures = analysis.measures[:MOST_MEASURES]
    results = analysis.configurations[::-1]
    with styled():
        figure, (axis,) = subplots(
            1, 1, width=7.4, height=(0.13 * len(measures) + 0.2) * len(results) + 0.17 * len(measures) + 0.9
        )
        for number, measure in enumerate(measures):
            offset = 0.7 * (0.5 - (number + 0.5) / len(measures))
            for place, result in enumerate(results):
                if (found := measure.correlations.get(result.label)) is not None:
                    values = (found.r, found.r_low, found.r_high)
                    words = f"{measure.label} (n = {measure.n})"
                    _bar(axis, place + offset, values, colour=COLOURS[number], marker=MARKERS[number], label=words)
        axis.axvline(0, color=GREY, linewidth=0.8)
        axis.set_xlim(-1.02, 1.02)
        axis.set_yticks(range(len(results)), [one.label for one in results])
        axis.set_xlabel(f"correlation of {analysis.metric} with diversity, 95 % interval")
        _legend(figure, axis)
        return figure


def _adjusted(result: ConfigurationResult) -> tuple[float, float, float] | None:
    """The change over the range of diversity with all covariates held fixed that can be."""
    fits = [one.regression for one in result.adjusted if one.regression is not None]
    if not fits:
        return None
    widest = max(fits, key=lambda one: len(one.covariates))
    independent = widest.n == widest.n_clusters
    low, high = (
        (widest.slope_low, widest.slope_high)
        if independent
        else (widest.slope_bootstrap_low, widest.slope_bootstrap_high)
    )
    return widest.slope * result.span, low * result.span, high * result.span


def _bar(axis: Axes, place: float, values: tuple[float, float, float], *, colour: str, marker: str, label: str) -> None:
    value, low, high = values
    axis.plot(value, place, marker, color=colour, markersize=4.5, label=label)
    if math.isfinite(low) and math.isfinite(high):
        axis.plot([low, high], [place, place], color=colour, linewidth=1.2)


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower left", fontsize=7, frameon=False)
