from __future__ import annotations

from pathlib import Path

import pytest

from lightning_lde.system._energy import WATTS_PER_BUSY_CORE, RaplMeter, estimating_energy


def zone(powercap: Path, folder: str, name: str, energy_uj: int, range_uj: int = 10_000_000) -> Path:
    path = powercap / folder
    path.mkdir(parents=True, exist_ok=True)
    for file, value in (("name", name), ("energy_uj", energy_uj), ("max_energy_range_uj", range_uj)):
        (path / file).write_text(f"{value}\n")
    return path


def test_energy_counts_from_the_beginning_over_all_packages(tmp_path: Path) -> None:
    for number in (0, 1):
        zone(tmp_path, f"intel-rapl:{number}", f"package-{number}", 5_000_000)
    meter = RaplMeter.find(tmp_path)
    assert meter is not None
    assert meter() == {"energy.cpu.joules": 0.0}
    zone(tmp_path, "intel-rapl:0", "package-0", 6_000_000)
    assert meter() == {"energy.cpu.joules": 1.0}
    zone(tmp_path, "intel-rapl:1", "package-1", 7_500_000)
    assert meter() == {"energy.cpu.joules": 3.5}


def test_a_counter_that_wraps_around_goes_on(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    meter = RaplMeter.find(tmp_path)
    assert meter is not None
    for energy_uj, joules in ((500_000, 1.5), (9_500_000, 10.5), (0, 11.0)):
        zone(tmp_path, "intel-rapl:0", "package-0", energy_uj)
        assert meter() == {"energy.cpu.joules": joules}


def test_nothing_is_counted_twice(tmp_path: Path) -> None:
    others = [("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"), ("intel-rapl:1", "psys")]
    others += [("intel-rapl-mmio:0", "package-0"), ("intel-rapl", "package-0")]
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    for folder, name in others:
        zone(tmp_path, folder, name, 0)
    meter = RaplMeter.find(tmp_path)
    assert meter is not None
    for folder, name in others:
        zone(tmp_path, folder, name, 9_000_000)
    zone(tmp_path, "intel-rapl:0", "package-0", 2_000_000)
    assert meter() == {"energy.cpu.joules": 2.0}


def test_where_there_is_no_counter_there_is_no_meter(tmp_path: Path) -> None:
    assert RaplMeter.find(tmp_path / "nothing") is None
    zone(tmp_path, "intel-rapl:1", "psys", 0)
    assert RaplMeter.find(tmp_path) is None


def test_a_counter_that_cannot_be_read_is_no_meter(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    (path / "energy_uj").unlink()
    (path / "energy_uj").mkdir()
    assert RaplMeter.find(tmp_path) is None


def test_the_estimate_is_processor_time_and_says_that_it_is_one() -> None:
    class Process:
        cpu_s = 0.0

        def __call__(self) -> dict[str, float]:
            self.cpu_s += 10.0
            return {"process.threads": 1}

    read = estimating_energy(Process())
    read()
    assert read() == {
        "process.threads": 1,
        "energy.cpu.estimated_joules": pytest.approx(20 * WATTS_PER_BUSY_CORE),
    }


def test_where_the_processes_were_not_read_there_is_no_estimate() -> None:
    class Process:
        cpu_s = 5.0

        def __call__(self) -> dict[str, float]:
            return {}

    assert estimating_energy(Process())() == {}
