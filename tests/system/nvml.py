"""NVML in memory, for machines without a GPU: the functions in use, their units, their errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace


class NVMLError(Exception):
    """What every function of NVML raises."""


@dataclass
class Device:
    """A device; what stands in ``missing`` is not supported by it."""

    uuid: str
    gpu: int = 0
    used: int = 0
    total: int = 80_000
    milliwatts: int = 0
    millijoules: int = 0
    celsius: int = 40
    missing: set[str] = field(default_factory=set)


class Nvml:
    """The module ``pynvml`` with these devices; MIG instances are found by their UUID alone."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *devices: Device, instances: tuple[Device, ...] = ()) -> None:
        self.devices = devices
        self.instances = instances
        self.uses = 0

    def nvmlInit(self) -> None:
        self.uses += 1

    def nvmlShutdown(self) -> None:
        if not self.uses:
            raise NVMLError("Uninitialized")
        self.uses -= 1

    def _asked(self, what: str, device: Device | None = None) -> None:
        if not self.uses:
            raise NVMLError("Uninitialized")
        if device is not None and what in device.missing:
            raise NVMLError("Not Supported")

    def nvmlDeviceGetCount(self) -> int:
        self._asked("count")
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:
        self._asked("handle")
        if not 0 <= index < len(self.devices):
            raise NVMLError("Invalid Argument")
        return self.devices[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Device:
        self._asked("handle")
        for device in (*self.devices, *self.instances):
            if device.uuid == uuid:
                return device
        raise NVMLError("Not Found")

    def nvmlDeviceGetUUID(self, device: Device) -> str:
        self._asked("uuid", device)
        return device.uuid

    def nvmlDeviceGetUtilizationRates(self, device: Device) -> SimpleNamespace:
        self._asked("utilization", device)
        return SimpleNamespace(gpu=device.gpu, memory=0)

    def nvmlDeviceGetMemoryInfo(self, device: Device) -> SimpleNamespace:
        self._asked("memory", device)
        return SimpleNamespace(used=device.used, total=device.total, free=device.total - device.used)

    def nvmlDeviceGetPowerUsage(self, device: Device) -> int:
        self._asked("power", device)
        return device.milliwatts

    def nvmlDeviceGetTotalEnergyConsumption(self, device: Device) -> int:
        self._asked("energy", device)
        return device.millijoules

    def nvmlDeviceGetTemperature(self, device: Device, sensor: int) -> int:
        self._asked("temperature", device)
        if sensor != self.NVML_TEMPERATURE_GPU:
            raise NVMLError("Invalid Argument")
        return device.celsius
