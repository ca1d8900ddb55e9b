from __future__ import annotations

import subprocess
import sys
import time

import pytest

from lightning_lde.system._gpu import gpu_probes
from lightning_lde.system._probes import open_probes, take

from .nvml import Device, Nvml


class Hands:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def machine(*devices: Device, instances: tuple[Device, ...] = ()) -> Nvml:
    nvml = Nvml(*devices, instances=instances)
    nvml.nvmlInit()
    return nvml


def four() -> Nvml:
    return machine(*(Device(f"GPU-{letter}000-{letter}", gpu=number) for number, letter in enumerate("abcd")))


def test_a_reading_has_use_memory_power_temperature_and_energy() -> None:
    device = Device("GPU-a", gpu=97, used=20_000, milliwatts=350_500, celsius=66, millijoules=9_000_000)
    probes = gpu_probes(machine(device), visible=None)
    device.millijoules += 12_500
    assert take(probes) == {
        "gpu.0.percent": 97.0,
        "gpu.0.memory.used_bytes": 20_000.0,
        "gpu.0.memory.percent": 25.0,
        "gpu.0.power_watts": 350.5,
        "gpu.0.temperature_celsius": 66.0,
        "energy.gpu.0.joules": 12.5,
    }


def test_without_a_counter_energy_is_power_over_time_and_says_so() -> None:
    hands = Hands()
    device = Device("GPU-a", milliwatts=100_000, missing={"energy"})
    probes = gpu_probes(machine(device), visible=None, now=hands)
    hands.time, device.milliwatts = 10.0, 300_000
    assert take(probes)["energy.gpu.0.estimated_joules"] == 2000.0
    hands.time = 12.0
    found = take(probes)
    assert found["energy.gpu.0.estimated_joules"] == 2600.0
    assert "energy.gpu.0.joules" not in found


def test_what_a_device_does_not_support_costs_nothing_else() -> None:
    poor = Device("GPU-a", gpu=5, missing={"power", "energy", "temperature"})
    probes = gpu_probes(machine(poor, Device("GPU-b", gpu=6)), visible=None)
    first = take(probes)
    assert set(first) == {
        "gpu.0.percent", "gpu.0.memory.used_bytes", "gpu.0.memory.percent", "gpu.1.percent",
        "gpu.1.memory.used_bytes", "gpu.1.memory.percent", "gpu.1.power_watts", "gpu.1.temperature_celsius",
        "energy.gpu.1.joules",
    }  # fmt: skip
    assert take(probes) == first
    assert len(probes) == 7


@pytest.mark.parametrize(
    ("visible", "shown"),
    [
        (None, [0, 1, 2, 3]),
        ("2", [2]),
        ("3, 1", [3, 1]),
        ("GPU-c000-c", [2]),
        ("GPU-d,GPU-a000", [3, 0]),
        ("", []),
        ("-1", []),
        ("1,-1,2", [1]),
        ("0,9,1", [0]),
        ("0,nonsense", [0]),
        ("GPU-", []),
        ("GPU-zzz", []),
        ("1,1", []),
        ("1,GPU-b", []),
    ],
)
def test_the_visible_devices_are_those_of_cuda_in_its_order(visible: str | None, shown: list[int]) -> None:
    found = take(gpu_probes(four(), visible=visible))
    uses = {name: value for name, value in found.items() if name.endswith("percent") and "memory" not in name}
    assert uses == {f"gpu.{number}.percent": float(device) for number, device in enumerate(shown)}


def test_a_part_of_a_device_is_found_by_its_uuid() -> None:
    part = Device("MIG-7", used=10, total=100, missing={"utilization", "power", "energy", "temperature"})
    nvml = machine(Device("GPU-a"), instances=(part,))
    assert take(gpu_probes(nvml, visible="MIG-7")) == {"gpu.0.memory.used_bytes": 10.0, "gpu.0.memory.percent": 10.0}
    assert gpu_probes(nvml, visible="MIG-8") == []


def test_the_library_is_opened_and_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(Device("GPU-a", gpu=50))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with open_probes() as probes:
        assert nvml.uses == 1
        assert take(probes)["gpu.0.percent"] == 50.0
    assert nvml.uses == 0


def test_a_driver_that_fails_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(Device("GPU-a", missing={"uuid"}))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(nvml, "nvmlDeviceGetCount", lambda: 1 // 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with open_probes() as probes:
        found = take(probes)
    assert "cpu.percent" in found
    assert not [name for name in found if name.startswith("gpu")]
    assert nvml.uses == 0


def test_the_stand_in_has_the_functions_of_the_library() -> None:
    pynvml = pytest.importorskip("pynvml")
    names = [name for name in dir(Nvml) if name.startswith(("nvml", "NVML"))]
    assert len(names) > 10
    assert all(hasattr(pynvml, name) for name in names)
    assert Nvml.NVML_TEMPERATURE_GPU == pynvml.NVML_TEMPERATURE_GPU


def test_the_library_without_a_driver_is_no_trouble() -> None:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        with open_probes() as probes:
            found = take(probes)
        assert "cpu.percent" in found
        assert not [name for name in found if name.startswith("gpu")]
    else:
        pynvml.nvmlShutdown()
        pytest.skip("there is a driver; the test marked gpu asks it")


LOAD = """
import torch, time
held = torch.ones(1 << 30, dtype=torch.uint8, device="cuda")
a = torch.randn(4096, 4096, device="cuda")
torch.cuda.synchronize()
print("on", flush=True)
while True:
    a = (a @ a).clamp_(-1, 1)
    torch.cuda.synchronize()
"""


@pytest.mark.gpu
def test_a_real_device_shows_the_work_of_another_process() -> None:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        pytest.skip(f"no NVIDIA driver: {error}")
    try:
        probes = gpu_probes(pynvml, visible="0")
        before = take(probes)
        child = subprocess.Popen([sys.executable, "-c", LOAD], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "on\n"
            time.sleep(3)
            after = take(probes)
        finally:
            child.kill()
            child.communicate()
    finally:
        pynvml.nvmlShutdown()
    assert after["gpu.0.percent"] > 50
    assert after["gpu.0.memory.used_bytes"] - before["gpu.0.memory.used_bytes"] >= 1 << 30
    assert 0 < after["gpu.0.memory.percent"] <= 100
    assert 10 < after["gpu.0.power_watts"] < 2000
    assert 10 < after["gpu.0.temperature_celsius"] < 110
    [energy] = [name for name in after if name.startswith("energy.gpu.0.")]
    assert after[energy] - before[energy] > 3 * 10
