from __future__ import annotations

from pathlib import Path

import pytest

from lightning_lde.system._container import container_probes


class Hands:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        group, _, rest = name.partition("_")
        (folder / f"{group}.{rest}").write_text(f"{text}\n")


def values(root: Path, membership: str, hands: Hands, *, after: object = None) -> dict[str, float]:
    (root.parent / "membership").write_text(membership)
    probes = container_probes(root, root.parent / "membership", now=hands)
    if callable(after):
        after()
    return {name: value for probe in probes for name, value in probe().items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def test_version_2_limits_are_read_at_the_top_that_a_container_sees(root: Path) -> None:
    hands = Hands()
    stat = "anon 100\ninactive_file 200"
    write(
        root, memory_max=4000, memory_current=1200, memory_stat=stat, cpu_max="150000 100000", cpu_stat="usage_usec 0"
    )

    def later() -> None:
        hands.time = 4.0
        write(root, cpu_stat="usage_usec 3000000\nuser_usec 1")

    assert values(root, "0::/\n", hands, after=later) == {
        "container.memory.limit_bytes": 4000,
        "container.memory.used_bytes": 1000,
        "container.memory.percent": 25.0,
        "container.cpu.limit_cores": 1.5,
        "container.cpu.percent": 50.0,
    }


def test_version_1_limits_stand_in_a_folder_per_controller(root: Path) -> None:
    hands = Hands()
    stat = "inactive_file 1\ntotal_inactive_file 500"
    write(root / "memory" / "job", memory_limit_in_bytes=2000, memory_usage_in_bytes=1500, memory_stat=stat)
    write(root / "cpu" / "job", cpu_cfs_quota_us=200000, cpu_cfs_period_us=100000)
    write(root / "cpuacct" / "job", cpuacct_usage=0)

    def later() -> None:
        hands.time = 10.0
        write(root / "cpuacct" / "job", cpuacct_usage=5_000_000_000)

    assert values(root, "4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n", hands, after=later) == {
        "container.memory.limit_bytes": 2000,
        "container.memory.used_bytes": 1000,
        "container.memory.percent": 50.0,
        "container.cpu.limit_cores": 2.0,
        "container.cpu.percent": 25.0,
    }


def test_the_tightest_of_nested_limits_counts_with_its_own_use(root: Path) -> None:
    write(root / "pod", memory_max=1000, memory_current=900)
    write(root / "pod" / "container", memory_max=3000, memory_current=100)
    found = values(root, "0::/pod/container\n", Hands())
    assert found["container.memory.limit_bytes"] == 1000
    assert found["container.memory.used_bytes"] == 900


def test_a_path_of_the_host_that_is_not_mounted_here_means_the_top(root: Path) -> None:
    write(root, memory_max=1000, memory_current=10)
    for path in ("/kubepods/burstable/pod7", "/../../system.slice"):
        assert values(root, f"0::{path}\n", Hands())["container.memory.limit_bytes"] == 1000


def test_where_nothing_is_limited_nothing_is_said(root: Path, tmp_path: Path) -> None:
    write(root, memory_max="max", cpu_max="max 100000")
    write(root / "memory", memory_limit_in_bytes=9223372036854771712, memory_usage_in_bytes=1)
    write(root / "cpu", cpu_cfs_quota_us=-1, cpu_cfs_period_us=100000)
    assert values(root, "4:memory:/\n2:cpu,cpuacct:/\n0::/\n", Hands()) == {}
    assert container_probes(root, tmp_path / "no such file") == []


def test_a_limit_that_is_lifted_is_silent(root: Path) -> None:
    write(root, memory_max=1000, memory_current=10)
    assert values(root, "0::/\n", Hands(), after=lambda: write(root, memory_max="max")) == {}


def test_a_quota_without_a_counter_still_says_the_quota(root: Path) -> None:
    write(root, cpu_max="50000 100000")
    assert values(root, "0::/\n", Hands()) == {"container.cpu.limit_cores": 0.5}
