"""Several runs side by side: what differs in what went in, and in what came out."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from typing import Any

from lightning_lde.errors import ConfigurationError
from lightning_lde.query._code_states import CodeDifference, compare_code
from lightning_lde.query._curves import CurveDifference, compare_curves
from lightning_lde.query._evaluations import EvaluationDifference, compare_evaluations
from lightning_lde.query._figures import CurveFigures, better, curve_figures
from lightning_lde.query._lake import Lake
from lightning_lde.query._points import DEFAULT_TOLERANCE
from lightning_lde.query._records import SYSTEM, MetricKey, RunRecords, read_records
from lightning_lde.query._repetitions import SeedGroup, seed_groups
from lightning_lde.query._sections import Section, sections_of

DEFAULT_WINDOW = 10


@dataclass(frozen=True, kw_only=True)
class RunHead:
    """By what a run is known.

    Attributes:
        label: A letter that stands for it in tables.
        run_id: Its id.
        name: Its name, if it has one.
        project: Its project.
        status: Its state.
        started_at: When it began.
        seed: Its seed, None where it is unseeded.
    """

    label: str
    run_id: str
    name: str | None
    project: str
    status: str
    started_at: datetime
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """One metric in all runs.

    Attributes:
        key: Name, context and number of the data loader.
        better: ``"lowest"`` or ``"highest"`` where the name says it.
        figures: What each run's curve ends with; None where the run lacks the metric.
        curves: How each later run's curve differs from the first run's; None where one of them lacks it.
    """

    key: MetricKey
    better: str | None
    figures: tuple[CurveFigures | None, ...]
    curves: tuple[CurveDifference | None, ...]

    @property
    def differs(self) -> bool:
        """Whether a run lacks it or its points are not those of the first run."""
        if all(figures is None for figures in self.figures):
            return False
        return any(curve is None or not curve.is_identical for curve in self.curves)


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Runs side by side; the first is the one that others are compared with.

    Attributes:
        runs: The runs, in the order in which they were given.
        sections: What was recorded of settings, data, environment, code, weights and outcome.
        code: How the code of each later run differs from the first's.
        metrics: Each metric in all runs.
        evaluations: For each later run what it evaluated, against the first run's.
        groups: Runs that differ only in the seed.
        window: Points that the mean at the end of a curve is taken over, at most.
    """

    runs: tuple[RunHead, ...]
    sections: tuple[Section, ...]
    code: tuple[CodeDifference, ...]
    metrics: tuple[MetricComparison, ...]
    evaluations: tuple[tuple[EvaluationDifference, ...], ...]
    groups: tuple[SeedGroup, ...]
    window: int

    def as_dict(self, *, everything: bool = False) -> dict[str, Any]:
        """All of it as nested dicts and lists.

        Values of settings come with their type, ``{"type": "int", "value": 3}``; NaN and infinities of curves are the
        strings of docs/format.md, bounds that do not exist are None.

        Args:
            everything: True to keep what is equal, too, and the machine's own metrics.
        """
        return {
            "runs": [asdict(head) for head in self.runs],
            "sections": [_section_dict(section, everything) for section in self.sections],
            "code": [asdict(difference) for difference in self.code],
            "metrics": [_metric_dict(metric) for metric in self.metrics if everything or is_telling(metric)],
            "evaluations": [[_plain(each.as_dict()) for each in group] for group in self.evaluations],
            "groups": [_plain(asdict(group)) for group in self.groups],
            "window": self.window,
        }


def compare_runs(
    lake: Lake,
    runs: Sequence[str],
    *,
    repository: str | os.PathLike[str] | None = None,
    window: int = DEFAULT_WINDOW,
    tolerance: float = DEFAULT_TOLERANCE,
    absolute_tolerance: float = 0.0,
) -> RunComparison:
    """Compare two or more runs of a lake; the number of queries does not depend on the number of runs.

    Args:
        lake: The lake.
        runs: Ids, beginnings of ids, or unique names; the others are compared with the first.
        repository: A folder in a git repository where commits may be looked up for the diff of the code.
        window: How many of a curve's last points the mean is taken over.
        tolerance: Relative tolerance up to which points of curves count as near.
        absolute_tolerance: Absolute tolerance.

    Raises:
        ConfigurationError: If fewer than two runs are given, one is given twice, or a number cannot work.
        RunNotFoundError: If none or several runs answer to a word.

    Example:
        >>> import tempfile
        >>> from lightning_lde import Recorder
        >>> folder = tempfile.mkdtemp()
        >>> for name, loss in (("one", 0.5), ("two", 0.25)):
        ...     with Recorder(folder, project="demo", name=name) as run:
        ...         run.log({"loss": loss}, step=1)
        >>> found = compare_runs(Lake(folder), ["one", "two"])
        >>> [metric.figures[1].last for metric in found.metrics if metric.key.name == "loss"]
        [(1, 0.25)]
    """
    if len(runs) < 2:
        raise ConfigurationError(f"got {len(runs)} run{'s' * (len(runs) != 1)} to compare, expected two or more.")
    if window < 1:
        raise ConfigurationError(f"window={window!r}, expected a number of points from 1 on.")
    ids = lake.resolve_runs(runs)
    for position, run_id in enumerate(ids):
        if run_id in ids[:position]:
            again = runs[ids.index(run_id)]
            raise ConfigurationError(f"{again!r} and {runs[position]!r} are one run ({run_id}): name each once.")
    return compare_records(read_records(lake, ids), repository, window, tolerance, absolute_tolerance)


def compare_records(
    records: Sequence[RunRecords],
    repository: str | os.PathLike[str] | None,
    window: int,
    tolerance: float,
    absolute_tolerance: float,
) -> RunComparison:
    """``compare_runs`` of runs that were read; nothing is asked of a lake."""
    facts = [record.facts for record in records]
    keys = sorted({key for record in records for key in record.curves}, key=_metric_order)
    metrics = tuple(
        _metric(key, [record.curves.get(key, ()) for record in records], window, tolerance, absolute_tolerance)
        for key in keys
    )
    return RunComparison(
        runs=tuple(_head(number, one.run) for number, one in enumerate(facts)),
        sections=tuple(sections_of(facts)),
        code=tuple(compare_code(facts[0].code, one.code, repository=repository) for one in facts[1:]),
        metrics=metrics,
        evaluations=tuple(
            tuple(compare_evaluations(records[0].evaluations, record.evaluations)) for record in records[1:]
        ),
        groups=tuple(seed_groups(records)),
        window=window,
    )


def is_telling(metric: MetricComparison) -> bool:
    """Whether a metric differs and is the training's: those of the machine always differ."""
    return metric.differs and metric.key.context != SYSTEM


def _head(number: int, run: Mapping[str, Any]) -> RunHead:
    names = ("run_id", "name", "project", "status", "started_at", "seed")
    return RunHead(label=label_of(number), **{name: run[name] for name in names})


def label_of(number: int) -> str:
    """A short word for a position: A to Z, then A1, B1 and so on.

    Example:
        >>> label_of(0), label_of(25), label_of(26)
        ('A', 'Z', 'A1')
    """
    rounds, letter = divmod(number, 26)
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[letter] + (str(rounds) if rounds else "")


def _metric_order(key: MetricKey) -> tuple[Any, ...]:
    return key.context == SYSTEM, key.name, key.context or "", -1 if key.dataloader_idx is None else key.dataloader_idx


def _metric(
    key: MetricKey,
    points: Sequence[Sequence[tuple[int | None, float]]],
    window: int,
    tolerance: float,
    absolute_tolerance: float,
) -> MetricComparison:
    first = points[0]
    return MetricComparison(
        key=key,
        better=better(key.name),
        figures=tuple(curve_figures(each, window=window) if each else None for each in points),
        curves=tuple(
            compare_curves(first, each, tolerance=tolerance, absolute_tolerance=absolute_tolerance)
            if first and each
            else None
            for each in points[1:]
        ),
    )


def _section_dict(section: Section, everything: bool) -> dict[str, Any]:
    facts = section.facts if everything else section.differences
    return {
        "title": section.title,
        "unrecorded": list(section.unrecorded),
        "n_equal": len(section.facts) - len(section.differences),
        "facts": [fact.as_dict() for fact in facts],
    }


def _metric_dict(metric: MetricComparison) -> dict[str, Any]:
    return {
        **metric.key._asdict(),
        "better": metric.better,
        "differs": metric.differs,
        "figures": [_plain(figures) for figures in metric.figures],
        "curves": [None if curve is None else _plain(curve.as_dict()) for curve in metric.curves],
    }


_BOUNDS = {"low", "high", "sd", "mean_absolute_difference"}


def _plain(value: Any, name: str = "") -> Any:
    """Dataclasses opened; numbers that JSON lacks as their words, or None where they stand for nothing."""
    if is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        return {key: _plain(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, name) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None if name in _BOUNDS else "NaN"
        return "Infinity" if value > 0 else "-Infinity"
    return value
