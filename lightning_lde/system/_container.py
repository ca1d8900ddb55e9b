"""The limits of the container or job that this process runs in, from the control groups of Linux."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")

# Version 1 writes "no limit" as the largest multiple of a page, some 2^63.
_NO_LIMIT_BYTES = 2**60


def container_probes(
    root: Path = _ROOT, membership: Path = _MEMBERSHIP, *, now: Callable[[], float] = time.monotonic
) -> list[Callable[[], Mapping[str, float]]]:
    """Probes of the memory limit and the processor quota, of those that are set.

    Of several limits, one in the other, the tightest is taken, with the use by all that shares it.

    Args:
        root: Where the control groups are mounted.
        membership: The file that says in which group this process is.
        now: A clock in seconds.

    Returns:
        Calls that return values by name; none where there is no limit.
    """
    try:
        paths = _paths(membership.read_text())
    except OSError:
        return []
    limits = [(limit, group) for group in _groups(root, paths, "memory") if (limit := _memory_limit(group))]
    quotas = [(quota, group) for group in _groups(root, paths, "cpu") if (quota := _cpu_quota(group))]
    probes: list[Callable[[], Mapping[str, float]]] = []
    if limits:
        probes.append(ContainerMemory(min(limits)[1]))
    if quotas:
        cores, group = min(quotas)
        probes.append(ContainerCpu(cores, _usage_file(root, group), now))
    return probes


class ContainerMemory:
    """Memory of a control group, without the file cache that the system gives back before it kills.

    Args:
        group: The group's folder, of version 1 or 2.
    """

    def __init__(self, group: Path) -> None:
        self._group = group

    def __call__(self) -> dict[str, float]:
        """The memory now.

        Returns:
            Values by name; none where the limit has been lifted.
        """
        limit = _memory_limit(self._group)
        if limit is None:
            return {}
        used = _number(self._group / "memory.current") or _number(self._group / "memory.usage_in_bytes") or 0.0
        facts = _table(self._group / "memory.stat")
        used -= facts.get("total_inactive_file", facts.get("inactive_file", 0.0))
        used = max(used, 0.0)
        return {
            "container.memory.limit_bytes": limit,
            "container.memory.used_bytes": used,
            "container.memory.percent": 100.0 * used / limit,
        }


class ContainerCpu:
    """Use of a processor quota.

    Args:
        cores: The quota in cores.
        usage: Returns processor seconds used by the group, None where they cannot be known.
        now: A clock in seconds.
    """

    def __init__(self, cores: float, usage: Callable[[], float | None], now: Callable[[], float]) -> None:
        self._cores = cores
        self._usage = usage
        self._now = now
        self._last, self._last_at = usage(), now()

    def __call__(self) -> dict[str, float]:
        """The use since the call before.

        Returns:
            Values by name; percent is of the quota.
        """
        found = {"container.cpu.limit_cores": self._cores}
        used, now = self._usage(), self._now()
        if used is not None and self._last is not None and now > self._last_at:
            share = max(0.0, used - self._last) / (now - self._last_at) / self._cores
            found["container.cpu.percent"] = 100.0 * share
        self._last, self._last_at = used, now
        return found


def _paths(text: str) -> dict[str, str]:
    """The group's path by controller; version 2 stands under the empty name."""
    lines = [line.split(":", 2) for line in text.splitlines()]
    return {controller: line[2] for line in lines if len(line) == 3 for controller in line[1].split(",")}


def _groups(root: Path, paths: Mapping[str, str], controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those around it, of both versions."""
    for name, top in ((controller, root / controller), ("", root)):
        if name not in paths:
            continue
        # In a container the path may be the host's, which is not there; the mounted top is the container's own then.
        group = top / paths[name].lstrip("/")
        yield group
        while group != top:
            group = group.parent
            yield group


def _memory_limit(group: Path) -> float | None:
    limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
    return limit if limit is not None and 0 < limit < _NO_LIMIT_BYTES else None


def _cpu_quota(group: Path) -> float | None:
    """Cores, None for all."""
    words = _words(group / "cpu.max") or [
        *_words(group / "cpu.cfs_quota_us"),
        *_words(group / "cpu.cfs_period_us"),
    ]
    try:
        quota, period = (float(word) for word in words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _usage_file(root: Path, group: Path) -> Callable[[], float | None]:
    """Processor seconds of a group; version 1 counts them in another hierarchy."""
    top = root / "cpu"
    in_version_1 = root / "cpuacct" / group.relative_to(top) if group.is_relative_to(top) else None

    def usage() -> float | None:
        if in_version_1 is not None:
            nanoseconds = _number(in_version_1 / "cpuacct.usage")
            return None if nanoseconds is None else nanoseconds / 1e9
        microseconds = _table(group / "cpu.stat").get("usage_usec")
        return None if microseconds is None else microseconds / 1e6

    return usage


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _number(path: Path) -> float | None:
    try:
        return float(_words(path)[0])
    except (IndexError, ValueError):
        return None


def _table(path: Path) -> dict[str, float]:
    words = _words(path)
    return {name: float(value) for name, value in zip(words[::2], words[1::2], strict=False)}
