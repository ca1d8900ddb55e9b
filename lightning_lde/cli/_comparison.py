"""The page of a comparison in a terminal."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lightning_lde.cli._columns import cells, column_width, page_width, print_columns, say, shortened
from lightning_lde.cli._output import text
from lightning_lde.query import (
    CodeDifference,
    CurveDifference,
    CurveFigures,
    EvaluationDifference,
    Fact,
    MetricComparison,
    PairedPoint,
    RunComparison,
    RunHead,
    ScoreDifference,
    Section,
    SeedGroup,
    evaluation_title,
    is_telling,
    metric_title,
)

if TYPE_CHECKING:
    from lightning_lde.statistics import Interval

MOST_FACTS = 60
MOST_METRICS = 20
MOST_DIFF_LINES = 80
_NOTHING = "–"
_Thing = TypeVar("_Thing")


def print_comparison(comparison: RunComparison, *, everything: bool) -> None:
    """Write the parts of a comparison that have content.

    Args:
        comparison: The comparison.
        everything: True for what is equal, too, and for all lines.
    """
    width, labels = page_width(), [head.label for head in comparison.runs]
    _print_runs(comparison.runs, width)
    for section in comparison.sections:
        _print_section(section, labels, width, everything)
        if section.title == "code":
            for code, others in _with_labels(comparison.code, labels[1:]):
                _print_code(code, f"code, {labels[0]} to {others}", width, everything)
    _print_metrics(comparison, labels, width, everything)
    for label, met in zip(labels[1:], comparison.evaluations, strict=True):
        _print_evaluations(met, labels[0], label, width)
    for group in comparison.groups:
        _print_group(group, comparison, width)
    if not everything:
        _print_rest(comparison, width)


def _print_runs(runs: Sequence[RunHead], width: int) -> None:
    rows = [
        (
            f"{head.label}  {head.run_id}",
            text(head.name) or _NOTHING,
            f"{text(head.started_at)} UTC",
            head.status,
            "unseeded" if head.seed is None else f"seed {head.seed}",
        )
        for head in runs
    ]
    print_columns(["name", "started", "state", "seed"], rows, width=width, indent=0)


def _print_section(section: Section, labels: Sequence[str], width: int, everything: bool) -> None:
    facts = list(section.facts if everything else section.differences)
    if not facts:
        return
    title = f"{section.title}, {len(section.differences)} of {len(section.facts)} differ"
    without = [labels[number] for number in section.unrecorded]
    if without:
        title += f"; nothing was recorded for {', '.join(without)}"
    _heading(title)
    if without and not everything:
        facts = [fact for fact in facts if _differs_among(fact, section.unrecorded)]
    shown = facts if everything else facts[:MOST_FACTS]
    if shown:
        _print_facts(shown, labels, width)
    _print_more(len(facts) - len(shown), "more")


def _differs_among(fact: Fact, unrecorded: Sequence[int]) -> bool:
    """Whether those differ of which something of the kind was recorded."""
    known = [value for number, value in enumerate(fact.values) if number not in unrecorded]
    return bool(known) and Fact.of(fact.key, known).differs


def _print_facts(facts: Sequence[Fact], labels: Sequence[str], width: int) -> None:
    room = column_width(len(labels), max(len(fact.key) for fact in facts), width)
    rows = [(shortened(fact.key, width * 2 // 5), *cells(_rounded(fact), room)) for fact in facts]
    print_columns(labels, rows, width=width)


def _rounded(fact: Fact) -> tuple[Any, ...]:
    """Values of a fact; nobody reads nanoseconds of a duration."""
    if fact.key != "duration_s":
        return fact.values
    return tuple(round(value, 3) if isinstance(value, float) else value for value in fact.values)


def _with_labels(differences: Sequence[CodeDifference], labels: Sequence[str]) -> Iterator[tuple[CodeDifference, str]]:
    """Each difference once, with the runs that have it: runs of a sweep share their code."""
    for number, code in enumerate(differences):
        if code not in differences[:number]:
            yield code, ", ".join(label for label, other in zip(labels, differences, strict=True) if other == code)


def _print_code(code: CodeDifference, title: str, width: int, everything: bool) -> None:
    if code.is_equal and not everything:
        return
    states = {True: "the same", False: "differs", None: "cannot be compared"}
    _heading(f"{title}: {states[code.is_equal]}")
    for words in (code.how and f"by {code.how}", code.missing):
        for line in textwrap.wrap(shortened(words or "", 4 * width), width - 2):
            say(f"  {line}")
    lines = (code.diff or "").splitlines()
    for line in lines if everything else lines[:MOST_DIFF_LINES]:
        say(f"  {shortened(line.expandtabs(4), width - 2)}", **_diff_style(line))
    _print_more(0 if everything else len(lines) - MOST_DIFF_LINES, "more lines")


def _diff_style(line: str) -> dict[str, Any]:
    if line.startswith(("diff ", "+++", "---")):
        return {"bold": True}
    return {"fg": {"+": "green", "-": "red", "@": "cyan"}[line[0]]} if line[:1] in {"+", "-", "@"} else {}


def _print_metrics(comparison: RunComparison, labels: Sequence[str], width: int, everything: bool) -> None:
    metrics = [metric for metric in comparison.metrics if everything or is_telling(metric)]
    if not metrics:
        return
    shown = metrics if everything else metrics[:MOST_METRICS]
    _heading(f"metrics, {len(metrics)} differ" if not everything else "metrics")
    if any(figures and figures.n > 1 for metric in shown for figures in metric.figures):
        say("  ± is a 95 % interval over points of one curve: it says nothing of what another run would give")
    rows = [row for metric in shown for row in _metric_rows(metric, labels[0])]
    print_columns(labels, rows, width=width, whole=True)
    _print_more(len(metrics) - len(shown), "more metrics")


def _metric_rows(metric: MetricComparison, first: str) -> Iterator[tuple[str, ...]]:
    figures, curves = metric.figures, [None, *metric.curves]
    name = shortened(metric_title(metric.key), 38)
    if all(each is None or each.n == 1 for each in figures):
        yield (name, *(_NOTHING if each is None else f"{_number(each.last[1])} (n=1)" for each in figures))
        return
    yield (name, *("" for _ in figures))
    yield _row("last", figures, lambda each: _at(each.last))
    for word in (metric.better,) if metric.better else ("lowest", "highest"):
        title = f"best, {word}" if metric.better else word
        yield _row(title, figures, functools.partial(_extreme, word))
    n_window = max(each.n_window for each in figures if each)
    yield _row(f"mean of last {n_window}", figures, _window)
    yield _row("points", figures, lambda each: str(each.n))
    if differing := [curve for curve in curves if curve]:
        yield _row(f"leaves {first}", curves, lambda curve: _parting(curve, curve.first_different), "")
        if any(curve.first_beyond != curve.first_different for curve in differing):
            beyond = f"beyond {differing[0].tolerance:g}"
            yield _row(beyond, curves, lambda curve: _parting(curve, curve.first_beyond), "")
        yield _row("largest difference", curves, _largest, "")
        yield _row("mean |difference|", curves, _mean, "")


def _extreme(word: str, figures: CurveFigures) -> str:
    return _at(figures.lowest if word == "lowest" else figures.highest)


def _row(
    name: str, things: Sequence[_Thing | None], words: Callable[[_Thing], str], nothing: str = _NOTHING
) -> tuple[str, ...]:
    return (f"  {name}", *(nothing if each is None else words(each) for each in things))


def _at(point: tuple[int | None, float] | None) -> str:
    if point is None:
        return _NOTHING
    step, value = point
    return _number(value) + ("" if step is None else f" @{step}")


def _window(figures: CurveFigures) -> str:
    words = _mean_words(figures.window)
    left_out = figures.n_window - (figures.window.n if figures.window else 0)
    return f"{words}, {left_out} not finite" if left_out else words


def _mean_words(interval: Interval | None) -> str:
    if interval is None:
        return _NOTHING
    half = "" if math.isnan(interval.high) else f" ± {interval.high - interval.mean:.2g}"
    return f"{interval.mean:.4g}{half} (n={interval.n})"


def _parting(curve: CurveDifference, point: PairedPoint | None) -> str:
    if point is not None:
        return f"@{point.step}" if point.step is not None else "a point without step"
    if curve.n_common == 0:
        return "no common steps"
    return "nowhere" if curve.has_same_points else "nowhere, other steps"


def _largest(curve: CurveDifference) -> str:
    point = curve.largest
    return "0" if point is None else _at((point.step, point.difference))


def _mean(curve: CurveDifference) -> str:
    return f"{_number(curve.mean_absolute_difference)} (n={curve.n_mean})" if curve.n_mean else _NOTHING


def _print_evaluations(met: Sequence[EvaluationDifference], first: str, second: str, width: int) -> None:
    if not met:
        return
    _heading(f"evaluated tasks, {first} and {second}; intervals are of 95 %")
    for each in met:
        titles = [evaluation_title(each.first), evaluation_title(each.second)]
        if titles[0] == titles[1]:
            say(f"  {shortened(titles[0], width - 2)}")
        else:
            for label, title in zip((first, second), titles, strict=True):
                say(f"  {label} {shortened(title, width - 4)}")
        how = "paired by task, Student's t" if each.is_paired else "not paired, Welch's t"
        say(f"    {each.n_common} common tasks of {each.n_first} and {each.n_second}: {how}")
        rows = [_score_row(score) for score in each.scores]
        print_columns([first, second, f"{second} − {first}"], rows, width=width, indent=4, whole=True)


def _score_row(score: ScoreDifference) -> tuple[str, ...]:
    difference = _NOTHING
    if score.difference is not None:
        difference = _difference_words(score.difference, score.low, score.high)
        difference += f" ({score.n_pairs} pairs)" if score.n_pairs else ""
    left_out = f" ({score.n_not_finite} not finite)" if score.n_not_finite else ""
    return f"{score.score}{left_out}", _mean_words(score.first), _mean_words(score.second), difference


def _difference_words(difference: float, low: float | None, high: float | None) -> str:
    bounds = "" if low is None or high is None or math.isnan(low) else f" [{low:+.4g}, {high:+.4g}]"
    return f"{difference:+.4g}{bounds}"


def _print_group(group: SeedGroup, comparison: RunComparison, width: int) -> None:
    labels = ", ".join(comparison.runs[number].label for number in group.members)
    seeds = ", ".join(map(str, group.seeds))
    _heading(shortened(f"{labels} differ only in the seed ({seeds}); ± is a 95 % interval over seeds", width))
    is_first = all(figure.difference is None for figure in group.figures)
    heads = ["mean over seeds"] if is_first else ["mean over seeds", "less the first group's"]
    rows = []
    for figure in group.figures:
        against = figure.difference
        words = _NOTHING if against is None else _difference_words(against.difference, against.low, against.high)
        rows.append((figure.name, _mean_words(figure.interval), *([] if is_first else [words])))
    if rows:
        print_columns(heads, rows, width=width, whole=True)


def _print_rest(comparison: RunComparison, width: int) -> None:
    equal = [(section.title, len(section.facts) - len(section.differences)) for section in comparison.sections]
    metrics = sum(not metric.differs for metric in comparison.metrics)
    parts = [f"{title} {n}" for title, n in [*equal, ("metrics", metrics)] if n]
    if parts:
        say("")
        for line in textwrap.wrap(f"equal and not shown: {', '.join(parts)}; --all shows them", width):
            say(line, dim=True)


def _print_more(n: int, what: str) -> None:
    if n > 0:
        say(f"  … {n} {what}: --all shows them", dim=True)


def _heading(title: str) -> None:
    say("")
    say(shortened(title, page_width()), bold=True)


def _number(value: float) -> str:
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN" if math.isnan(value) else text(float(value)))
