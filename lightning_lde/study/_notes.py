"""Sentences that an analysis says beside its figures: what was taken, what is left out, what cannot be found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any


def settings_note(taken: str | None, others: Sequence[str | None]) -> str:
    """Which runs were taken, and how many other settings the project has.

    Example:
        >>> settings_note("c1a0", [])
        'Taken: runs with settings c1a0; the project has 0 others.'
        >>> settings_note(None, ["c1a0", "b2f9"])
        'Taken: runs without a settings id; the project has 2 others: c1a0, b2f9.'
    """
    runs = "runs without a settings id" if taken is None else f"runs with settings {taken}"
    names = ", ".join(one or "none" for one in others)
    count = f"{len(others)} {'other' if len(others) == 1 else 'others'}"
    return f"Taken: {runs}; the project has {count}{f': {names}' if names else ''}."


def probe_notes(results: Sequence[dict[str, Any]], diversity: Sequence[dict[str, Any]]) -> list[str]:
    """Evaluated data sets that are left out, because they have no diversity or one of another probe."""
    measured = {row["dataset_id"] for row in diversity}
    other = [row["dataset"] for row in diversity if not row["is_comparable"]]
    unmeasured = {row["dataset_id"]: row["dataset"] for row in results if row["dataset_id"] not in measured}
    notes = []
    if other:
        probe = next(row["diversity_probe_id"] for row in diversity if row["is_comparable"])
        notes.append(f"Left out, their diversity is of another probe than {probe}: {', '.join(other)}.")
    if unmeasured:
        notes.append(f"Left out, without a diversity: {', '.join(unmeasured.values())}.")
    return notes


def bound_notes(sizes: Sequence[int]) -> list[str]:
    """Numbers of data sets with which a permutation test cannot reach the 5 % level after Holm's correction.

    The smallest two-sided p of n points is 2/n!. Configurations with more data sets may be found first, so only
    those with at most n count in the correction.

    Args:
        sizes: Data sets of each configuration.

    Example:
        >>> bound_notes([4, 4])
        ['4 data sets can never be significant: the smallest permutation p is 2/4! = 0.083, 0.167 after correction.']
        >>> bound_notes([6, 6, 6, 6, 6])
        []
    """
    notes = []
    for n in sorted(Counter(sizes)):
        smallest = 2 / math.factorial(n)
        corrected = min(smallest * sum(size <= n for size in sizes), 1.0)
        if corrected > 0.05:
            notes.append(
                f"{n} data sets can never be significant: the smallest permutation p is 2/{n}! = {smallest:.3f}, "
                f"{corrected:.3f} after correction."
            )
    return notes


def not_finite_notes(label: str, datasets: Sequence[str], what: str) -> list[str]:
    """Data sets of a configuration that are left out because a figure of theirs is not finite.

    Example:
        >>> not_finite_notes("MAML", ["digits"], "the mean"), not_finite_notes("MAML", [], "the mean")
        (['MAML: digits left out, the mean is no number.'], [])
    """
    return [f"{label}: {', '.join(datasets)} left out, {what} is no number."] if datasets else []
