"""What moving files costs, what it saves each month, and when the one has paid for the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_lde.tiering import Prices

_GB = 1e9
_DAYS_OF_A_MONTH = 30.4


@dataclass(frozen=True)
class Estimate:
    """What a change of the tiers costs, in the currency of the prices.

    Attributes:
        once: Reading what moves and writing it to the cold root.
        month_before: Storage of all objects of the lake, per month.
        month_after: The same afterwards.
        back: Bringing back all that moves, once.
        at_least: What the minimum time of the storage class makes of what moves, whenever it is deleted.
        currency: The currency.
        source: Where the prices come from.
        are_known: Whether there are any prices.
    """

    once: float
    month_before: float
    month_after: float
    back: float
    at_least: float
    currency: str
    source: str
    are_known: bool

    @property
    def saving(self) -> float:
        """What is saved per month, below zero where it costs more."""
        return self.month_before - self.month_after

    @property
    def break_even_months(self) -> float | None:
        """After how many months moving has paid for itself; None for never."""
        return self.once / self.saving if self.saving > 0 else None


@dataclass(frozen=True)
class Sizes:
    """Sizes in bytes of objects in both roots.

    Attributes:
        hot_before: In the lake's own root.
        hot_after: There afterwards.
        cold_before: In the cold root.
        cold_after: There afterwards.
        copied: What is copied to the cold root.
    """

    hot_before: Sequence[int]
    hot_after: Sequence[int]
    cold_before: Sequence[int]
    cold_after: Sequence[int]
    copied: Sequence[int]


def estimate(sizes: Sizes, prices: Prices) -> Estimate:
    """Reckon what a change costs.

    Args:
        sizes: Of the objects before and after, and of those that are copied.
        prices: What storage and requests cost.

    Example:
        >>> moved = Sizes([10**9], [], [], [10**9], [10**9])
        >>> found = estimate(moved, Prices(hot_gb_month=0.03, cold_gb_month=0.01, cold_put_1000=10))
        >>> round(found.saving, 6), round(found.once, 6), round(found.break_even_months, 6)
        (0.02, 0.01, 0.5)
    """
    thousands = len(sizes.copied) / 1000
    gigabytes = math.fsum(sizes.copied) / _GB
    billed = math.fsum(map(prices.billed_bytes, sizes.copied)) / _GB
    return Estimate(
        once=thousands * (prices.hot_get_1000 + prices.cold_put_1000),
        month_before=_month(sizes.hot_before, sizes.cold_before, prices),
        month_after=_month(sizes.hot_after, sizes.cold_after, prices),
        back=thousands * (prices.cold_get_1000 + prices.hot_put_1000) + gigabytes * prices.retrieval_gb,
        at_least=billed * prices.cold_gb_month * prices.minimum_days / _DAYS_OF_A_MONTH,
        currency=prices.currency,
        source=prices.source,
        are_known=prices.are_known,
    )


def _month(hot: Sequence[int], cold: Sequence[int], prices: Prices) -> float:
    stored = math.fsum(hot) / _GB * prices.hot_gb_month
    return stored + math.fsum(map(prices.billed_bytes, cold)) / _GB * prices.cold_gb_month
