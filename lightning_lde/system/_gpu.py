"""NVIDIA's GPUs through NVML, which needs no CUDA context and makes none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

_Probe = Callable[[], Mapping[str, float]]


def gpu_probes(nvml: Any, *, visible: str | None, now: Callable[[], float] = time.monotonic) -> list[_Probe]:
    """Probes of the GPUs that CUDA would show this process.

    One probe reads one thing of one GPU: what a device does not support costs nothing else.

    Args:
        nvml: The module ``pynvml``, after ``nvmlInit``.
        visible: The value of ``CUDA_VISIBLE_DEVICES``, None where it is not set.
        now: A clock in seconds.

    Returns:
        Calls that return values by name. The number in a name is CUDA's, as in ``cuda:0``.
    """
    probes: list[_Probe] = []
    for number, handle in enumerate(_handles(nvml, visible)):
        probes += [_use(nvml, handle, number), _memory(nvml, handle, number), _temperature(nvml, handle, number)]
        probes += [_power(nvml, handle, number), _energy(nvml, handle, number, now)]
    return probes


def _handles(nvml: Any, visible: str | None) -> list[Any]:
    """The devices in CUDA's order; like CUDA, take what stands before the first entry that names no device."""
    if visible is None:
        return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    handles: list[Any] = []
    uuids: set[str] = set()
    for word in visible.split(","):
        try:
            handle = _handle(nvml, word.strip())
            uuid = nvml.nvmlDeviceGetUUID(handle)
        except (nvml.NVMLError, ValueError):
            break
        if uuid in uuids:
            return []
        uuids.add(uuid)
        handles.append(handle)
    return handles


def _handle(nvml: Any, word: str) -> Any:
    if word.startswith("MIG-"):
        return nvml.nvmlDeviceGetHandleByUUID(word)
    count = nvml.nvmlDeviceGetCount()
    if not word.startswith("GPU-"):
        index = int(word)
        if not 0 <= index < count:
            raise ValueError(f"GPU {index} of {count}")
        return nvml.nvmlDeviceGetHandleByIndex(index)
    # CUDA takes the beginning of a UUID as well.
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    [handle] = [handle for handle in handles if nvml.nvmlDeviceGetUUID(handle).startswith(word)]
    return handle


def _use(nvml: Any, handle: Any, number: int) -> _Probe:
    return lambda: {f"gpu.{number}.percent": float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)}


def _memory(nvml: Any, handle: Any, number: int) -> _Probe:
    def read() -> dict[str, float]:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            f"gpu.{number}.memory.used_bytes": float(memory.used),
            f"gpu.{number}.memory.percent": 100.0 * memory.used / memory.total,
        }

    return read


def _temperature(nvml: Any, handle: Any, number: int) -> _Probe:
    return lambda: {
        f"gpu.{number}.temperature_celsius": float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
    }


def _watts(nvml: Any, handle: Any) -> float:
    return float(nvml.nvmlDeviceGetPowerUsage(handle) / 1000)


def _power(nvml: Any, handle: Any, number: int) -> _Probe:
    return lambda: {f"gpu.{number}.power_watts": _watts(nvml, handle)}


def _energy(nvml: Any, handle: Any, number: int, now: Callable[[], float]) -> _Probe:
    """Energy since now: by the device's counter, which begins when its driver is loaded, else from its power."""
    try:
        begin_mj = nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return _IntegratedPower(lambda: _watts(nvml, handle), f"energy.gpu.{number}.estimated_joules", now)

    def read() -> dict[str, float]:
        grown_mj = nvml.nvmlDeviceGetTotalEnergyConsumption(handle) - begin_mj
        return {f"energy.gpu.{number}.joules": grown_mj / 1000}

    return read


class _IntegratedPower:
    """Energy as the sum of power over time, by the trapezoidal rule."""

    def __init__(self, watts: Callable[[], float], name: str, now: Callable[[], float]) -> None:
        self._watts = watts
        self._name = name
        self._now = now
        self._joules = 0.0
        self._last: tuple[float, float] | None = None
        try:
            self._last = (now(), watts())
        except Exception:
            self._last = None

    def __call__(self) -> dict[str, float]:
        at, watts = self._now(), self._watts()
        if self._last is not None:
            self._joules += (at - self._last[0]) * (watts + self._last[1]) / 2
        self._last = (at, watts)
        return {self._name: self._joules}
