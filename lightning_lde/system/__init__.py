"""What the machine does while a run trains: a thread that reads processor, memory, disk, network, GPU and energy.

Names, units and sources of all values stand in ``docs/system-metrics.md``.
"""

from lightning_lde.system._monitor import SystemMonitor
from lightning_lde.system._probes import Probe, open_probes
from lightning_lde.system._progress import StepClock

__all__ = ["Probe", "StepClock", "SystemMonitor", "open_probes"]
