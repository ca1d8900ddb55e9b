"""What to try first on a data set, from what a lake knows of others, with the runs that speak for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.query._results import PastResults

if TYPE_CHECKING:
    from lightning_lde.recommend import Recommendation, Recommender, ResultTable

_MOST = 10
"""Names of data sets that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A recommendation and where it comes from.

    Attributes:
        recommendation: What to try, what to expect of it, and why.
        dataset: The data set's name, None where only its descriptors were given.
        told: What was reached on the data set itself so far, by configuration.
        runs: Ids of the runs behind each proposal, by configuration and then data set.
        notes: What was left out, in sentences.
    """

    recommendation: Recommendation
    dataset: str | None
    told: Mapping[str, float]
    runs: Mapping[str, Mapping[str, tuple[str, ...]]]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON; each result that speaks for a proposal has its runs."""
        found = self.recommendation.to_dict()
        for proposal in found["proposals"]:
            runs = self.runs.get(proposal["configuration"], {})
            proposal["evidence"] = [{**one, "runs": list(runs.get(one["dataset"], ()))} for one in proposal["evidence"]]
        return {"dataset": self.dataset, **found, "told": dict(self.told), "notes": list(self.notes)}


def advise(
    results: PastResults | ResultTable,
    dataset: str | None = None,
    descriptors: Mapping[str, float | None] | None = None,
    *,
    k: int = 5,
    single: bool = False,
    afresh: bool = False,
    recommender: Recommender | None = None,
) -> Advice:
    """Recommend configurations for a data set.

    Results on the data set itself are not learned from but told: they are what was reached so far, and what was tried
    is not proposed again.

    Args:
        results: What a lake knows, or a table from elsewhere.
        dataset: The data set: its name, id or the beginning of its id. It need not have runs.
        descriptors: Numbers that describe it, by the table's names; they go before what is known of ``dataset``.
        k: How many configurations.
        single: Whether to learn from one run of each configuration and data set, drawn at random, instead of means
            over repetitions. Only from results that were asked for with ``aggregate=False``.
        afresh: Whether to recommend as if nothing had been tried on the data set itself.
        recommender: By default the one that does best on held-out data sets.

    Raises:
        ConfigurationError: If neither a data set nor descriptors are given.
        DataError: If the data set is not known, or there are no results on another one.

    Example:
        >>> from lightning_lde.recommend import ResultTable
        >>> table = ResultTable.from_columns(
        ...     dataset=["a", "a", "b", "b", "c"], settings={"lr": [0.1, 0.2, 0.1, 0.2, 0.1]}, metric=[3, 4, 3, 5, 1]
        ... )
        >>> advise(table, "c", k=1).recommendation.proposals[0].settings
        {'lr': 0.2}
    """
    if dataset is None and descriptors is None:
        raise ConfigurationError("for which data set? Give its name or id, or its descriptors")
    from lightning_lde.recommend import recommend

    past, name, described = _asked(results, dataset)
    table = past.table.single() if single else past.table.aggregated()
    told = {} if afresh else table.values_on(name)
    others = [one for one in table.datasets if one != name]
    if not others:
        raise DataError(f"there are results on {name!r} only; recommending needs results on other data sets")
    found = recommend(
        table.for_datasets(others), {**described, **(descriptors or {})}, k, recommender=recommender, told=told
    )
    wanted = {proposal.configuration for proposal in found.proposals}
    runs: dict[str, dict[str, tuple[str, ...]]] = {}
    for (where, configuration), ids in past.runs.items():
        if configuration in wanted and where != name:
            runs.setdefault(configuration, {})[where] = ids
    return Advice(recommendation=found, dataset=name, told=told, runs=runs, notes=past.notes)


def _asked(
    results: PastResults | ResultTable, dataset: str | None
) -> tuple[PastResults, str | None, Mapping[str, float | None]]:
    past = results if isinstance(results, PastResults) else _of_table(results)
    if dataset is None:
        return past, None, {}
    name = past.dataset_named(dataset)
    if name is None:
        more = f" and {len(past.datasets) - _MOST} more" if len(past.datasets) > _MOST else ""
        few = ", ".join(sorted(past.datasets)[:_MOST]) + more
        raise DataError(f"there is no data set {dataset!r}; there are: {few}. Of a new one give the descriptors")
    return past, name, past.descriptors.get(name, {})


def _of_table(table: ResultTable) -> PastResults:
    return PastResults(
        table=table,
        datasets=dict.fromkeys(table.datasets, ()),
        descriptors={name: table.descriptors_of(name) for name in table.datasets},
        runs={},
        n_runs=int(table.n.sum()),
        n_lost=0,
        notes=(),
    )
