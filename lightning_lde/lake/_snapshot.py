"""The files of a lake at one moment, and which of them count."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lightning_lde.lake._layout import HotFile
from lightning_lde.lake.cold import SORTED_BY, ColdFile, Manifest, is_erased


@dataclass(frozen=True)
class Snapshot:
    """The files of a lake at one moment: each row stands in one of them.

    Attributes:
        files: Of the hot tier, by table.
        cold: Of the cold tables.
    """

    files: Mapping[str, tuple[HotFile, ...]]
    cold: Mapping[str, tuple[ColdFile, ...]] = field(default_factory=dict)

    def paths(self, table: str) -> list[str]:
        """Paths of the files of a table, relative to the lake's root."""
        cold = [file.path for file in self.cold.get(table, ())]
        return cold + [file.path for file in self.files.get(table, ())]

    def of_runs(self, run_ids: Collection[str]) -> Snapshot:
        """The same without cold files that have no row of any of some runs.

        Args:
            run_ids: Whole ids.
        """
        cold = {
            table: tuple(file for file in files if any(_may_have(file, run_id) for run_id in run_ids))
            if SORTED_BY.get(table, ("",))[0] == "run_id"
            else files
            for table, files in self.cold.items()
        }
        return replace(self, cold=cold)

    def apart(self, table: str) -> tuple[list[str], list[str]]:
        """Paths of the files of which nothing stands twice, in themselves or in two of them; and of all others."""
        alone: list[str] = []
        together: list[str] = []
        for group in _overlapping(self.cold.get(table, ())):
            is_alone = len(group) == 1 and group[0].is_distinct
            (alone if is_alone else together).extend(file.path for file in group)
        return alone, together + [file.path for file in self.files.get(table, ())]


def _may_have(file: ColdFile, value: str) -> bool:
    return file.first is None or file.last is None or file.first <= value <= file.last


def _overlapping(files: Iterable[ColdFile]) -> list[list[ColdFile]]:
    """Files in groups, each of which has other values in the first column of its order than the others have."""
    groups: list[list[ColdFile]] = []
    furthest = ""
    for file in sorted(files, key=lambda file: (file.first or "", file.last or "")):
        if groups and (file.first or "") <= furthest:
            groups[-1].append(file)
        else:
            groups.append([file])
        furthest = max(furthest, file.last or "")
    return groups


class ColdState(NamedTuple):
    """What one manifest says: the cold tables, hot files whose rows are in them, hashes of what was erased."""

    manifest: Manifest
    absorbed: frozenset[str]
    erased: frozenset[str]

    def counting(self, files: Iterable[HotFile | None]) -> Iterator[HotFile]:
        """Files of the hot tier without those whose rows are elsewhere, or were erased."""
        is_gone = is_erased(self.erased)
        return (one for one in files if one is not None and one.path not in self.absorbed and not is_gone(one.writer))
