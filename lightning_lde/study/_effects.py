"""MAML minus pretraining on the same tasks: per data set, and over all of them."""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from lightning_lde.statistics import holm, paired_cohens_d, paired_equivalence, paired_test, random_effects
from lightning_lde.study._answer import Effect, EffectResult
from lightning_lde.study._labels import Rows, by_configuration, labels_of
from lightning_lde.study._notes import not_finite_notes

_ROUNDING = 1e-12

_Array = np.ndarray[Any, np.dtype[np.float64]]


class _Pairs(NamedTuple):
    """Both methods on the tasks of one data set, in the same order."""

    dataset_id: str
    dataset: str
    maml: _Array
    pretraining: _Array

    @property
    def differences(self) -> _Array:
        return self.maml - self.pretraining

    @property
    def has_spread(self) -> bool:
        """Whether the differences vary by more than the rounding of what they are differences of."""
        return len(self.maml) > 1 and bool(np.ptp(self.differences) > _ROUNDING * np.abs(self.maml).max())


def effects_of(rows: Rows, margin: float, notes: list[str]) -> tuple[EffectResult, ...]:
    """The difference per data set with its tests, and its mean over data sets, of each configuration.

    Args:
        rows: Rows of the query for pairs, ordered by configuration and data set.
        margin: The largest difference that does not matter, in the unit of the metric.
        notes: What is left out is added to them.
    """
    found = []
    labels = labels_of(rows)
    for key, group in by_configuration(rows).items():
        every = [_pairs(list(tasks)) for _, tasks in groupby(group, key=lambda row: row["dataset_id"])]
        kept = _usable(every, f"{labels[key]} minus pretraining", notes)
        if len(kept) >= 2:
            found.append(_result(labels[key], kept, margin))
    return tuple(found)


def _pairs(rows: list[dict[str, Any]]) -> _Pairs:
    first = rows[0]
    maml, pretraining = (np.array([row[name] for row in rows], dtype=np.float64) for name in ("maml", "pretraining"))
    return _Pairs(first["dataset_id"], first["dataset"], maml, pretraining)


def _usable(every: list[_Pairs], label: str, notes: list[str]) -> list[_Pairs]:
    finite = [one for one in every if np.isfinite(one.differences).all()]
    left_out = [one.dataset for one in every if not np.isfinite(one.differences).all()]
    notes += not_finite_notes(label, left_out, "the difference")
    # A single task, or equal differences, say nothing of the spread.
    kept = [one for one in finite if one.has_spread]
    if flat := [one.dataset for one in finite if not one.has_spread]:
        notes.append(f"{label}: {', '.join(flat)} left out of the mean, no variance over tasks.")
    return kept


def _result(label: str, kept: list[_Pairs], margin: float) -> EffectResult:
    effects = _effects(kept, margin)
    first, second = (np.concatenate([getattr(one, side) for one in kept]) for side in ("pretraining", "maml"))
    clusters = [one.dataset_id for one in kept for _ in one.maml]
    return EffectResult(
        label,
        effects,
        random_effects([effect.difference for effect in effects], [effect.variance for effect in effects]),
        paired_test(first, second, clusters=clusters),
        paired_equivalence(first, second, margin, clusters=clusters),
    )


def _effects(kept: list[_Pairs], margin: float) -> tuple[Effect, ...]:
    tests = [paired_test(one.pretraining, one.maml, resamples=100) for one in kept]
    corrected = holm([test.p_t for test in tests])
    return tuple(
        Effect(
            dataset_id=one.dataset_id,
            dataset=one.dataset,
            difference=test.difference,
            variance=test.sd**2 / test.n,
            n_tasks=test.n,
            size=paired_cohens_d(one.pretraining, one.maml, standardizer="average"),
            p=test.p_t,
            p_holm=p_holm,
            equivalence=paired_equivalence(one.pretraining, one.maml, margin),
        )
        for one, test, p_holm in zip(kept, tests, corrected, strict=True)
    )
