"""What the figures of a study allow to say, what they rule out, and what would settle the question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_lde.ui._words import amount, amount_with_interval, listed, number, probability, signed

if TYPE_CHECKING:
    from lightning_lde.study import Comparison, MeasureResult, StudyAnalysis

LEVEL = 0.05


def verdict(analysis: StudyAnalysis) -> list[str]:
    """The answer in sentences: first the answer itself, then what it rests on.

    Args:
        analysis: What ``lightning_lde.study.analyse`` returned.
    """
    return [
        answer(analysis),
        _correlated(analysis),
        _rises(analysis),
        *_compared(analysis),
        _ruled_out(analysis),
        *_adjusted(analysis),
        *_other_measures(analysis),
        *_needed(analysis),
    ]


def answer(analysis: StudyAnalysis) -> str:
    """Whether the metric rises with diversity, and more for MAML, in one sentence each.

    A rise counts as shown where its p, corrected for the number of configurations, is below 5 %, and not where
    diversity cannot be told from something else.
    """
    confounded = [one.name for one in analysis.covariates if one.is_confounded]
    rising = [one.label for one in analysis.configurations if one.p_holm < LEVEL and one.correlation.slope > 0]
    falling = [one.label for one in analysis.configurations if one.p_holm < LEVEL and one.correlation.slope < 0]
    words = (
        f"Does {analysis.metric} rise with diversity? "
        f"{_of_slopes(rising, falling, confounded, n=len(analysis.configurations))} "
        f"More for MAML than for pretraining? {_of_comparisons(analysis.comparisons, confounded)}"
    )
    return words + _reservation(analysis)


def _reservation(analysis: StudyAnalysis) -> str:
    """That the answer is another by other probes or methods, where it is."""
    taken, others = analysis.measures[0], analysis.measures[1:]
    asked = [(one.n_correlated > 0, one.n_slopes_differ > 0) for one in others]
    agree = sum(one == (taken.n_correlated > 0, taken.n_slopes_differ > 0) for one in asked)
    if agree == len(others):
        return ""
    return f" By other ways to measure diversity the answer is another in {len(others) - agree} of {len(others)}."


def _named(labels: list[str], n: int) -> str:
    """Which of n they are."""
    return listed(labels) if len(labels) < n or n == 1 else f"all {n} configurations"


def _of_slopes(rising: list[str], falling: list[str], confounded: list[str], *, n: int) -> str:
    if confounded and (rising or falling):
        return (
            f"It changes with diversity for {_named(rising + falling, n)}, but diversity and {listed(confounded)} "
            "change together exactly: these data cannot say which of them it follows."
        )
    words = [f"Shown for {_named(rising, n)}."] if rising else []
    words += [f"It falls for {_named(falling, n)}."] if falling else []
    return " ".join(words) or "Not shown for any configuration, and not ruled out."


def _of_comparisons(comparisons: tuple[Comparison, ...], confounded: list[str]) -> str:
    if not comparisons:
        return "Not asked: the lake does not have both."
    more = [one.first for one in comparisons if one.p_slope_holm < LEVEL and one.difference.slope_difference > 0]
    less = [one.first for one in comparisons if one.p_slope_holm < LEVEL and one.difference.slope_difference < 0]
    if (more or less) and confounded:
        return f"The slopes differ, but whether with diversity or with {listed(confounded)} cannot be said."
    n = len(comparisons)
    words = [f"Shown for {_named(more, n)}."] if more else []
    words += [f"Less for {_named(less, n)}."] if less else []
    return " ".join(words) or "Not shown for any configuration, and not ruled out."


def _correlated(analysis: StudyAnalysis) -> str:
    results = analysis.configurations
    significant = [one.label for one in results if one.p_holm < LEVEL]
    which = f": {', '.join(significant)}" if 0 < len(significant) < len(results) else ""
    return (
        f"Over {_n(analysis)} data sets, {analysis.metric} is correlated with diversity at the 5 % level (Holm) for "
        f"{len(significant) or 'none'} of {len(results)} configurations{which}."
    )


def _rises(analysis: StudyAnalysis) -> str:
    words = [f"{amount_with_interval(*one.gain, analysis.metric)} for {one.label}" for one in analysis.configurations]
    return f"From the least to the most diverse data set {analysis.metric} changes by {'; '.join(words)}."


def _compared(analysis: StudyAnalysis) -> list[str]:
    comparisons = analysis.comparisons
    if not comparisons:
        return []
    clear = [one for one in comparisons if one.p_slope_holm < LEVEL]
    spans = {one.label: one.span for one in analysis.configurations}
    words = [_difference_words(one, spans[one.first], analysis.metric) for one in comparisons]
    apart = [one for one in comparisons if one.p_holm < LEVEL]
    lower = sum(one.difference.r_difference < 0 for one in apart)
    test = "jackknife over families" if analysis.has_families else "Williams"
    direction = f": lower for MAML in {lower}, higher in {len(apart) - lower}" if apart else ""
    return [
        f"The slope under MAML differs from that under pretraining at the 5 % level (wild bootstrap, Holm) in "
        f"{len(clear)} of {len(comparisons)} comparisons. Over the range of diversity the differences are "
        f"{'; '.join(words)}.",
        f"The correlation of MAML differs from that of pretraining at the 5 % level ({test}, Holm) in "
        f"{len(apart)} of {len(comparisons)} comparisons{direction}.",
    ]


def _difference_words(one: Comparison, span: float, metric: str) -> str:
    d = one.difference
    values = (d.slope_difference * span, d.slope_difference_low * span, d.slope_difference_high * span)
    return f"{amount_with_interval(*values, metric)} for {one.first}"


def _ruled_out(analysis: StudyAnalysis) -> str:
    results = analysis.configurations
    most = max(results, key=lambda one: one.r_squared_bounds[1])
    rise = max(results, key=lambda one: one.gain[2])
    undecided = [one.label for one in results if one.gain[1] <= 0.0 <= one.gain[2]]
    none = f"They do not rule out that there is none for {_named(undecided, len(results))}." if undecided else ""
    words = (
        f"At 95 %, not corrected, the data rule out an R² above {number(most.r_squared_bounds[1], 2)} ({most.label}), "
        f"and for every configuration a rise over the range of diversity of more than "
        f"{amount(rise.gain[2], analysis.metric)} ({rise.label}). {none}"
    )
    return words.strip()


def _adjusted(analysis: StudyAnalysis) -> list[str]:
    together = [
        one.adjusted[-1].regression
        for one in analysis.configurations
        if one.adjusted and one.adjusted[-1].regression is not None and len(one.adjusted[-1].covariates) > 1
    ]
    if not together:
        return []
    names = next(one.adjusted[-1].covariates for one in analysis.configurations if one.adjusted[-1].regression)
    smallest = min(one.p_permutation if one.n == one.n_clusters else one.p_bootstrap for one in together)
    rising = sum(one.slope > 0 for one in together)
    nearest = max((one for one in analysis.covariates if one.reason is None), key=lambda one: abs(one.r))
    return [
        "Of what else the data sets differ in, diversity goes along most with "
        f"{nearest.name} (r = {signed(nearest.r, 2)}).",
        f"With {listed([name.partition(',')[0] for name in names])} held fixed the slope is positive for {rising} of "
        f"{len(together)} configurations; the smallest p, not corrected, is {probability(smallest)}.",
    ]


def _other_measures(analysis: StudyAnalysis) -> list[str]:
    measures = analysis.measures
    if len(measures) < 2:
        return ["Diversity was measured by one probe and method; whether the answer rests on that is not known."]
    ranges = [_range(one) for one in measures]
    low, high = min(one[0] for one in ranges), max(one[1] for one in ranges)
    correlated = sum(one.n_correlated > 0 for one in measures)
    differing = sum(one.n_slopes_differ > 0 for one in measures)
    return [
        f"Diversity was measured in {len(measures)} ways (probe and method), this one included: R² lies between "
        f"{number(low, 2)} and {number(high, 2)}, some configuration is correlated at the 5 % level (Holm) by "
        f"{correlated} of them, and some slope differs from that under pretraining by {differing}."
    ]


def _range(measure: MeasureResult) -> tuple[float, float]:
    values = [one.r_squared for one in measure.correlations.values()]
    return min(values), max(values)


def _needed(analysis: StudyAnalysis) -> list[str]:
    needs = analysis.needs
    observed = [one.n_required for one in analysis.configurations if one.n_required is not None]
    sentences = [
        f"{needs.n} data sets find a true R² of {number(needs.smallest_r_squared, 2)} with a chance of "
        f"{100 * needs.power:.0f} %; 80 % need {needs.n_required} data sets, or {needs.n_required_corrected} with a "
        f"correction for {needs.n_tests} tests. With {needs.n} only an R² from "
        f"{number(needs.significant_r_squared, 2)} on can be significant, and one of "
        f"{number(needs.detectable_r_squared, 2)} is found with 80 %."
    ]
    if observed:
        sentences.append(
            "To find correlations of the observed size with 80 % power, "
            f"{min(observed)} to {max(observed)} data sets are needed."
        )
    differences = [one.n_required for one in analysis.comparisons if one.n_required is not None]
    if differences:
        sentences.append(
            "To find differences of slopes between MAML and pretraining of the observed size with 80 % power, "
            f"{min(differences)} to {max(differences)} data sets are needed."
        )
    return sentences


def _n(analysis: StudyAnalysis) -> int:
    return max(one.correlation.n for one in analysis.configurations)
