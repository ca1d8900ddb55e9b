"""Energy of the processor: measured by its own counters where they can be read, else estimated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

_POWERCAP = Path("/sys/class/powercap")

WATTS_PER_BUSY_CORE = 3.76
"""Power of one fully used hardware thread of a server, in watts.

Cloud Carbon Footprint derives from the SPECpower results of the processors of each cloud an average for a virtual
CPU at full load: 3.50 W (AWS), 3.76 W (Azure), 4.26 W (Google, a median); this is the middle one.
See https://www.cloudcarbonfootprint.org/docs/methodology/, "Compute".
"""


class RaplMeter:
    """Energy of all processor packages of the machine since this was made (RAPL, through Linux's powercap).

    The counters are of the whole machine, other people's processes included.

    Args:
        zones: Folders with ``energy_uj`` and ``max_energy_range_uj``.

    Raises:
        OSError: If a counter cannot be read.
        ValueError: If a counter is no number.
    """

    def __init__(self, zones: list[Path]) -> None:
        self._zones = zones
        self._ranges = [_microjoules(zone / "max_energy_range_uj") for zone in zones]
        self._last = self._read()
        self._joules = 0.0

    @classmethod
    def find(cls, powercap: Path = _POWERCAP) -> RaplMeter | None:
        """The meter of this machine.

        Args:
            powercap: The kernel's folder of power zones.

        Returns:
            None where there is no counter or it cannot be read, as for most users who are not root.
        """
        # The parts of a package (intel-rapl:0:0) are in the package, and the packages are in the platform ("psys").
        zones = sorted(powercap.glob("intel-rapl:*"))
        try:
            packages = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
            return cls(packages) if packages else None
        except (OSError, ValueError):
            return None

    def __call__(self) -> dict[str, float]:
        """The energy until now.

        Returns:
            ``energy.cpu.joules``.
        """
        counters = self._read()
        for value, last, range_uj in zip(counters, self._last, self._ranges, strict=True):
            grown = value - last
            self._joules += (grown if grown >= 0 else grown + range_uj) / 1e6
        self._last = counters
        return {"energy.cpu.joules": self._joules}

    def _read(self) -> list[int]:
        return [_microjoules(zone / "energy_uj") for zone in self._zones]


def _microjoules(path: Path) -> int:
    return int(path.read_text())


class _CpuTime(Protocol):
    cpu_s: float

    def __call__(self) -> Mapping[str, float]: ...


def estimating_energy(process: _CpuTime) -> Callable[[], dict[str, float]]:
    """A probe of processes that adds an estimate of their energy.

    Args:
        process: A probe that keeps the processor seconds used so far in ``cpu_s``.

    Returns:
        The same probe with ``energy.cpu.estimated_joules``: ``cpu_s`` times ``WATTS_PER_BUSY_CORE``.
    """

    def read() -> dict[str, float]:
        found = process()
        return {**found, "energy.cpu.estimated_joules": process.cpu_s * WATTS_PER_BUSY_CORE} if found else {}

    return read
