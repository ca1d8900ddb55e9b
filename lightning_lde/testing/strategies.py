"""Strategies of hypothesis that draw faults for a :class:`~lightning_lde.testing.FaultyStore`."""

from __future__ import annotations

from collections.abc import Collection

from lightning_lde.errors import MissingDependencyError
from lightning_lde.testing._faults import Fault, FaultKind

try:
    import hypothesis.strategies as st
except ImportError as error:
    raise MissingDependencyError("strategies need hypothesis: pip install hypothesis") from error

__all__ = ["fault_plans", "faults"]


def faults(
    kinds: Collection[FaultKind] = tuple(FaultKind), *, longest_delay_s: float = 0.05
) -> st.SearchStrategy[Fault]:
    """One fault.

    Args:
        kinds: What may go wrong.
        longest_delay_s: Seconds that an operation waits at most; only ``FaultKind.DELAY`` waits.
    """
    delays = st.floats(0.0, longest_delay_s, allow_nan=False)

    def of_kind(kind: FaultKind) -> st.SearchStrategy[Fault]:
        return delays.map(lambda delay_s: Fault(kind, delay_s)) if kind is FaultKind.DELAY else st.just(Fault(kind))

    return st.sampled_from(sorted(kinds)).flatmap(of_kind)


def fault_plans(
    kinds: Collection[FaultKind] = tuple(FaultKind), *, longest: int = 30, longest_delay_s: float = 0.05
) -> st.SearchStrategy[list[Fault | None]]:
    """What goes wrong with each operation in turn, None where nothing does; shrinks towards nothing.

    Args:
        kinds: What may go wrong.
        longest: Operations that may be affected at most.
        longest_delay_s: Seconds that an operation waits at most.
    """
    return st.lists(st.none() | faults(kinds, longest_delay_s=longest_delay_s), max_size=longest)
