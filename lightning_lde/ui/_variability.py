"""An analysis of variability as text for a terminal."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_lde.ui._words import printable

if TYPE_CHECKING:
    from lightning_lde.statistics import VarianceComponent, VarianceDecomposition
    from lightning_lde.study import RepetitionGroup, VariabilityAnalysis


def variability_text(analysis: VariabilityAnalysis, *, with_queries: bool = False) -> str:
    """The groups with their components, then warnings, notes and queries.

    Args:
        analysis: What ``lightning_lde.study.analyse_variability`` returned.
        with_queries: Whether the SQL itself is written, and not only its name.
    """
    text = "\n".join(_lines(analysis, with_queries=with_queries))
    return "\n".join(map(printable, text.split("\n")))


def _lines(analysis: VariabilityAnalysis, *, with_queries: bool) -> Iterator[str]:
    n_runs = sum(len(group.runs) for group in analysis.groups) + analysis.n_single
    value = analysis.take if analysis.take.startswith("mean") else f"{analysis.take} value"
    yield f"{analysis.metric}, {value}: {n_runs} finished runs of project {analysis.project} in {analysis.lake}"
    yield f"{_count(len(analysis.groups), 'group')} of repetitions, {_count(analysis.n_single, 'run')} without one"
    for number, group in enumerate(analysis.groups, 1):
        yield ""
        yield from _group_lines(number, group, analysis)
    for title, sentences in (("warnings", [one.message for one in analysis.duplicates]), ("notes", analysis.notes)):
        if sentences:
            yield ""
            yield title
        for index, sentence in enumerate(sentences):
            yield f"  {sentence}"
            if title == "warnings":
                run_ids = analysis.duplicates[index].run_ids
                yield f"    {', '.join(run_ids[:4])}{f' and {len(run_ids) - 4} more' if len(run_ids) > 4 else ''}"
    yield ""
    yield "queries" if with_queries else "queries (--queries or --format json for the SQL)"
    for query in analysis.queries:
        yield f"  {query.name}: {_count(len(query.rows), 'row')}"
        if with_queries:
            yield f"lde sql {shlex.quote(analysis.lake)} {shlex.quote(query.sql)}"


def _group_lines(number: int, group: RepetitionGroup, analysis: VariabilityAnalysis) -> Iterator[str]:
    yield f"{number}. {group.label}"
    yield "   " + ", ".join(f"{word} {_short(value)}" for word, value in group.key.items())
    yield f"   {_design(group)}"
    found, overall = group.decomposition, group.overall
    if found is None:
        yield f"   {analysis.metric} is {_number(overall.mean)} in all {overall.n} runs: no variance to explain"
        return
    yield (
        f"   mean {_number(found.mean)} {_interval(found.mean_low, found.mean_high)}, n {found.n}, "
        f"sd over all {overall.n} runs {_number(overall.sd)}"
    )
    if found.n_repeats:
        yield f"   {_count(found.n_repeats, 'run')} repeated another one exactly and did not count"
    yield ""
    yield from _table(found)
    yield ""
    yield from _seed_lines(group, analysis)


def _design(group: RepetitionGroup) -> str:
    levels = {word: len({run.facts[word] for run in group.runs}) for word in group.factors}
    sizes = Counter(cell.n for cell in group.cells)
    few, many = min(sizes), max(sizes)
    per_cell = f"{few}" if few == many else f"{few} to {many}"
    crossing = math.prod(levels.values())
    empty = f", {crossing - len(group.cells)} of {crossing} combinations empty" if crossing > len(group.cells) else ""
    words = ", ".join(f"{count} {word}" for word, count in levels.items())
    return f"{_count(len(group.runs), 'run')} in {_count(len(group.cells), 'cell')}, {per_cell} a cell{empty}: {words}"


def _table(found: VarianceDecomposition) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [
        ("component", "levels", "variance", _percent(found.confidence), "sd", "share", _percent(found.confidence))
    ]
    rows += [_row(one, one.name) for one in found.components]
    rows.append(_row(found.residual, f"residual: {found.residual.name}"))
    widths = [max(len(row[column]) for row in rows if len(row) > column and len(row) > 3) for column in range(7)]
    widths[0] = max(len(row[0]) for row in rows)
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1])]
        cells += (
            [row[2]] if len(row) == 3 else [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        )
        yield "   " + "  ".join(cells).rstrip()


def _row(one: VarianceComponent, name: str) -> tuple[str, ...]:
    if one.reason is not None:
        return name, str(one.levels), f"not estimated, {one.reason}"
    return (
        name,
        str(one.levels),
        _number(one.variance),
        _interval(one.variance_low, one.variance_high),
        _number(math.sqrt(one.variance)),
        f"{100 * one.share:.1f} %",
        f"[{100 * one.share_low:.1f}, {100 * one.share_high:.1f}] %",
    )


def _seed_lines(group: RepetitionGroup, analysis: VariabilityAnalysis) -> Iterator[str]:
    seeds = group.seeds
    if seeds is None:
        yield "   no cell has two seeds, so nothing is known of the scatter over seeds"
        return
    yield (
        f"   over seeds, the rest equal: sd {_number(seeds.sd)} {_interval(seeds.low, seeds.high)}, "
        f"n {seeds.n} in {_count(seeds.n_cells, 'cell')}, {seeds.degrees_of_freedom} degrees of freedom"
    )
    if group.detectable:
        found = ", ".join(f"{_number(size)} with {n}" for n, size in group.detectable.items())
        yield f"   seeds of each of two configurations find, at the 5 % level and 80 % power, a difference of {found}"
    if group.required is not None and group.required_high is not None:
        yield (
            f"   a difference of {_number(analysis.difference or math.nan)} needs {group.required} seeds of each, "
            f"{group.required_high} if the sd is at its upper bound"
        )


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.0f} % interval"


def _interval(low: float, high: float) -> str:
    return f"[{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.4g}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def _short(value: str) -> str:
    return value[:12] if len(value) == 32 else value
