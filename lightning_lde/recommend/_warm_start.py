"""Begin an Optuna study where past data sets ended: the configurations to try first, and a sampler for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lightning_lde.errors import ConfigurationError, MissingDependencyError

from ._first import box, first_configurations
from ._past import PastTrials
from ._table import ResultTable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study


class Known(Protocol):
    """What a source of results knows."""

    @property
    def table(self) -> ResultTable:
        """The results."""
        ...

    @property
    def descriptors(self) -> Mapping[str, Mapping[str, float | None]]:
        """What describes each data set, by name."""
        ...

    def dataset_named(self, word: str) -> str | None:
        """The data set that a name or an id means."""
        ...


class Source(Protocol):
    """Whatever has results of a metric: a ``Lake``."""

    def results(self, metric: str, *, mode: str, **options: Any) -> Known:
        """What is known about a metric."""
        ...


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """What was done to a study.

    Attributes:
        enqueued: The configurations to try first, as they were enqueued.
        sampler: The sampler that the study has now.
        dataset: The data set as the past knows it; None where it does not, which is how a search on new data begins.
        n_datasets: Other data sets whose results are used.
        n_results: Their results.
        n_own: Results on the data set itself, which the sampler knows.
        parameters: The setting of the past for each parameter that it knows.
        reason: Why the past could not be used, None where it is.
    """

    enqueued: tuple[Mapping[str, Any], ...]
    sampler: BaseSampler
    dataset: str | None
    n_datasets: int
    n_results: int
    n_own: int
    parameters: Mapping[str, str]
    reason: str | None


def warm_start(
    study: Study,
    lake: Source | ResultTable,
    data: str | Mapping[str, float | None] | None = None,
    *,
    metric: str | None = None,
    space: Mapping[str, BaseDistribution] | None = None,
    k: int = 5,
    names: Mapping[str, str] | None = None,
    seed: int | None = None,
    **options: Any,
) -> WarmStart:
    """Enqueue what did well on other data sets, and sample the rest with what they have in common.

    Runs that `LDECallback` records into the lake while the study runs are known to the next warm start on the same data
    set, as results of its own: they are not tried again.

    Args:
        study: A study with one objective; its direction says what is better.
        lake: A ``Lake``, or a table of results from elsewhere.
        data: The data set: its name or id in the lake, or numbers that describe it. Without it all past data sets count
            alike, whatever was recorded on the data set itself among them.
        metric: The metric of the lake that the objective returns; not needed for a table.
        space: The study's search space, by the names of its parameters. Without it the box around past values, until
            trials of the study say what it is.
        k: How many configurations to enqueue; 0 for none.
        names: The past's name of parameters that are called otherwise in the study.
        seed: Seed of the sampler.
        options: Further options of ``Lake.results``.

    Raises:
        MissingDependencyError: If Optuna is not installed.
        ConfigurationError: If the study has several objectives, or no metric is named.
    """
    _require_optuna()
    from ._sampler import PastSampler

    if len(study.directions) != 1:
        raise ConfigurationError(f"the study has {len(study.directions)} objectives, expected one: recommend for each")
    mode = "max" if study.direction.name == "MAXIMIZE" else "min"
    table, dataset, descriptors = _known(lake, data, metric, mode, options)
    past = PastTrials(table=table, dataset=dataset, names=names or {})
    searched = dict(space) if space is not None else box(past)
    first, reason = first_configurations(past, searched, descriptors, k)
    for settings in first:
        study.enqueue_trial(settings, user_attrs={"lde": "recommended"}, skip_if_exists=True)
    study.sampler = PastSampler(past, space=space, seed=seed)
    return _told(past, first, study.sampler, list(searched), reason)


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("this needs Optuna: pip install lightning-lde[optuna]") from error


def _known(
    lake: Source | ResultTable,
    data: str | Mapping[str, float | None] | None,
    metric: str | None,
    mode: str,
    options: Mapping[str, Any],
) -> tuple[ResultTable, str | None, Mapping[str, float | None]]:
    """The results, the data set's name if it has one, and its descriptors."""
    described = data if isinstance(data, Mapping) else {}
    if isinstance(lake, ResultTable):
        if lake.maximize != (mode == "max"):
            raise ConfigurationError(f"the study looks for the {mode}imum and the table's metric for the other one")
        name = data if isinstance(data, str) and data in lake.datasets else None
        return lake.aggregated(), name, lake.descriptors_of(name) if name else described
    if metric is None:
        raise ConfigurationError("which metric of the lake does the objective return? Give metric=")
    known = lake.results(metric, mode=mode, **options)
    name = known.dataset_named(data) if isinstance(data, str) else None
    # A data set that the lake has not seen yet is as good as one without descriptors.
    return known.table.aggregated(), name, known.descriptors.get(name, {}) if name else described


def _told(
    past: PastTrials,
    first: Sequence[Mapping[str, Any]],
    sampler: BaseSampler,
    parameters: Sequence[str],
    reason: str | None,
) -> WarmStart:
    here = np.array([name == past.dataset for name in past.table.datasets])[past.table.dataset_index]
    return WarmStart(
        enqueued=tuple(first),
        sampler=sampler,
        dataset=past.dataset,
        n_datasets=sum(name != past.dataset for name in past.table.datasets),
        n_results=int(past.table.n[~here].sum()),
        n_own=int(past.table.n[here].sum()),
        parameters=past.keys(parameters),
        reason=reason,
    )
