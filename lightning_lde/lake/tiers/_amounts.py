"""How much was moved: counts and bytes of files of runs, and of the objects that they consist of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lightning_lde.lake.tiers._cost import Estimate


@dataclass
class Amount:
    """How many, and how large together.

    Attributes:
        n: The number.
        size_bytes: The bytes.
    """

    n: int = 0
    size_bytes: int = 0

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Amount:
        """Of so many bytes each."""
        known = list(sizes)
        return cls(len(known), sum(known))


@dataclass
class Tiering:
    """What has been done, or would be.

    Attributes:
        is_dry_run: Whether nothing was done.
        was_busy: Whether nothing was done because another one is at work.
        to_cold: Files of runs that are cold now.
        deleted: Files of runs that were deleted.
        by_rule: Files of runs by the number of the rule that moved them.
        copied: Objects that were written to the cold root.
        removed: Objects that were removed from the lake's own root.
        removed_cold: Objects that were removed from the cold root.
        hot_before: All objects in the lake's own root.
        hot_after: The same afterwards.
        cold_before: All objects in the cold root, and in former ones.
        cold_after: The same afterwards.
        problems: Files that stay as they are, each with the reason.
        cost: What it costs.
    """

    is_dry_run: bool = False
    was_busy: bool = False
    to_cold: Amount = field(default_factory=Amount)
    deleted: Amount = field(default_factory=Amount)
    by_rule: dict[int, Amount] = field(default_factory=dict)
    copied: Amount = field(default_factory=Amount)
    removed: Amount = field(default_factory=Amount)
    removed_cold: Amount = field(default_factory=Amount)
    hot_before: Amount = field(default_factory=Amount)
    hot_after: Amount = field(default_factory=Amount)
    cold_before: Amount = field(default_factory=Amount)
    cold_after: Amount = field(default_factory=Amount)
    problems: list[str] = field(default_factory=list)
    cost: Estimate | None = None

    def details(self) -> dict[str, Any]:
        """The counts, for the log of maintenance."""
        names = ("to_cold", "deleted", "copied", "removed", "removed_cold", "hot_after", "cold_after")
        amounts = {name: getattr(self, name) for name in names}
        return {
            **{name: {"n": amount.n, "bytes": amount.size_bytes} for name, amount in amounts.items()},
            "problems": len(self.problems),
        }


@dataclass
class Restoring:
    """What has been brought back, and what is on its way.

    Attributes:
        is_dry_run: Whether nothing was done.
        was_busy: Whether nothing was done because files are being moved at the moment.
        restored: Files of runs that are hot again.
        waiting: Files of runs of which something is still archived.
        copied: Objects that were copied into the lake's own root.
        asked: Objects that were asked for now.
        states: Objects by their state, as it was found.
        until: How long all that was restored can be read; None where nothing is restored, or the server says no time.
        problems: Files that cannot be brought back, each with the reason.
    """

    is_dry_run: bool = False
    was_busy: bool = False
    restored: Amount = field(default_factory=Amount)
    waiting: Amount = field(default_factory=Amount)
    copied: Amount = field(default_factory=Amount)
    asked: Amount = field(default_factory=Amount)
    states: dict[str, int] = field(default_factory=dict)
    until: datetime | None = None
    problems: list[str] = field(default_factory=list)

    def details(self) -> dict[str, Any]:
        """The counts, for the log of maintenance."""
        names = ("restored", "waiting", "copied", "asked")
        amounts = {name: getattr(self, name) for name in names}
        return {
            **{name: {"n": amount.n, "bytes": amount.size_bytes} for name, amount in amounts.items()},
            "problems": len(self.problems),
        }
