"""What storage costs: a table that the policy may change, with list prices where it says nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_lde.errors import ConfigurationError

SOURCE = "Amazon S3 list prices, us-east-1, first 50 TB, as of 2025; check those of your region"


@dataclass(frozen=True)
class Prices:
    """Prices in one currency; GB are 10^9 bytes.

    Attributes:
        hot_gb_month: Storage in the lake's own root, per GB and month.
        cold_gb_month: Storage in the cold root, per GB and month.
        hot_put_1000: 1,000 writes to the lake's root.
        hot_get_1000: 1,000 reads from the lake's root.
        cold_put_1000: 1,000 writes to the cold root.
        cold_get_1000: 1,000 reads from the cold root, requests for archived objects included.
        retrieval_gb: Reading from the cold root, per GB.
        minimum_days: Objects of the cold root are paid for at least so long.
        smallest_kb: Smaller objects of the cold root cost as much as one of so many KB.
        overhead_kb: KB that are paid for besides each object of the cold root.
        currency: Of all of them.
        source: Where the numbers come from.
    """

    hot_gb_month: float = 0.0
    cold_gb_month: float = 0.0
    hot_put_1000: float = 0.0
    hot_get_1000: float = 0.0
    cold_put_1000: float = 0.0
    cold_get_1000: float = 0.0
    retrieval_gb: float = 0.0
    minimum_days: float = 0.0
    smallest_kb: float = 0.0
    overhead_kb: float = 0.0
    currency: str = "USD"
    source: str = "none: give tiers.prices.hot_gb_month and tiers.prices.cold_gb_month"

    @property
    def are_known(self) -> bool:
        """Whether there is any price to reckon with."""
        return self.hot_gb_month > 0 or self.cold_gb_month > 0

    def billed_bytes(self, size_bytes: int) -> float:
        """How many bytes an object of the cold root is billed for.

        Example:
            >>> Prices(smallest_kb=128).billed_bytes(1000), Prices(overhead_kb=40).billed_bytes(100_000)
            (131072.0, 140960.0)
        """
        return max(float(size_bytes), self.smallest_kb * 1024) + self.overhead_kb * 1024


NAMES = tuple(field.name for field in dataclasses.fields(Prices) if field.name != "source")
"""What the policy can say of prices."""

_STANDARD = Prices(
    cold_gb_month=0.023, cold_put_1000=0.005, cold_get_1000=0.0004, source=SOURCE
)  # fmt: skip
_COLD = {
    "STANDARD": _STANDARD,
    "INTELLIGENT_TIERING": _STANDARD,
    "STANDARD_IA": Prices(
        cold_gb_month=0.0125, cold_put_1000=0.01, cold_get_1000=0.001, retrieval_gb=0.01, minimum_days=30,
        smallest_kb=128, source=SOURCE,
    ),
    "ONEZONE_IA": Prices(
        cold_gb_month=0.01, cold_put_1000=0.01, cold_get_1000=0.001, retrieval_gb=0.01, minimum_days=30,
        smallest_kb=128, source=SOURCE,
    ),
    "GLACIER_IR": Prices(
        cold_gb_month=0.004, cold_put_1000=0.02, cold_get_1000=0.01, retrieval_gb=0.03, minimum_days=90,
        smallest_kb=128, source=SOURCE,
    ),
    "GLACIER": Prices(
        cold_gb_month=0.0036, cold_put_1000=0.03, cold_get_1000=0.05, retrieval_gb=0.01, minimum_days=90,
        overhead_kb=40, source=SOURCE,
    ),
    "DEEP_ARCHIVE": Prices(
        cold_gb_month=0.00099, cold_put_1000=0.05, cold_get_1000=0.1, retrieval_gb=0.02, minimum_days=180,
        overhead_kb=40, source=SOURCE,
    ),
}  # fmt: skip


def list_prices(hot_url: str, cold_url: str | None, storage_class: str | None) -> Prices:
    """Prices where the policy says nothing: Amazon's for what lies on S3, none for what does not.

    Args:
        hot_url: The lake's address.
        cold_url: The cold root's, None where there is none.
        storage_class: The storage class of the cold root, None for the usual one.
    """
    cold = Prices()
    if cold_url is not None and _is_s3(cold_url):
        cold = _COLD.get(storage_class or "STANDARD", Prices())
    if not _is_s3(hot_url):
        return cold
    return dataclasses.replace(
        cold,
        hot_gb_month=_STANDARD.cold_gb_month,
        hot_put_1000=_STANDARD.cold_put_1000,
        hot_get_1000=_STANDARD.cold_get_1000,
        source=SOURCE,
    )


def with_changes(prices: Prices, changes: Mapping[str, float | str]) -> Prices:
    """Prices of which a policy says some.

    Args:
        prices: Where it says nothing.
        changes: What it says.
    """
    if not changes:
        return prices
    said = ", ".join(sorted(changes))
    source = f"the lake's policy ({said})" + (f"; the rest: {prices.source}" if prices.are_known else "")
    return dataclasses.replace(prices, **changes, source=source)  # type: ignore[arg-type]


def checked_price(name: str, value: object) -> float | str:
    """A price as the policy may say it.

    Raises:
        ConfigurationError: If there is no such price, or it is no number of at least zero.
    """
    if name not in NAMES:
        raise ConfigurationError(f"there is no price {name!r}: give one of {', '.join(NAMES)}")
    if name == "currency":
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"currency is {value!r}: give a word such as USD")
        return value
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the price {name} is {value!r}: give a number") from error
    if not 0 <= number < float("inf"):
        raise ConfigurationError(f"the price {name} is {value!r}: give a number of at least 0")
    return number


def _is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))
