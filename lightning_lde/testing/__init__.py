"""What shows that storage keeps its promises: a store that fails on demand, and checks for any store.

``lightning_lde.testing.strategies`` draws faults with hypothesis, where that is installed.
"""

from lightning_lde.testing._faults import Call, Fault, FaultKind, FaultyStore
from lightning_lde.testing._promises import STORE_CHECKS

__all__ = ["STORE_CHECKS", "Call", "Fault", "FaultKind", "FaultyStore"]
