"""What is to be done with the objects of a lake when files of runs move: which are copied, which go."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lightning_lde.errors import StoreError
from lightning_lde.lake._layout import OBJECTS
from lightning_lde.lake.objects import CHUNKS, first_path, references
from lightning_lde.lake.objects._codec import decode
from lightning_lde.lake.tiers._cost import Sizes
from lightning_lde.lake.tiers._needs import Needs, by_key, needs
from lightning_lde.lake.tiers._plan import Decision, FileKey, HeldFile, decide
from lightning_lde.lake.tiers._root import ColdRoot
from lightning_lde.lake.tiers._rows import files_and_runs
from lightning_lde.schema import utc_now
from lightning_lde.tiering import TierPolicy

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage


@dataclass
class Work:
    """What is to be done.

    Attributes:
        moves: What becomes of files.
        needs: What has to be where when all is done.
        hot: Sizes of the objects in the lake's own root.
        cold: Sizes of those in each cold root.
        copies: Of what shall be in the cold root and is in the lake's own: path there by path here.
        held: What can be cold of each file.
        projects: The project of each run.
    """

    moves: list[Decision]
    needs: Needs
    hot: dict[str, int]
    cold: list[dict[str, int]]
    copies: dict[str, str]
    held: dict[FileKey, set[str]]
    projects: dict[str, str]

    @property
    def new_copies(self) -> list[int]:
        """Sizes of what is not in the cold root yet, as far as a listing says."""
        there = self.cold[0] if self.cold else {}
        return [self.hot[path] for path, target in self.copies.items() if there.get(target) != self.hot[path]]

    @property
    def drops(self) -> list[str]:
        """What goes from the lake's own root, if it is in a cold one."""
        going = self.needs.cold | self.needs.gone
        return [path for path in self.hot if first_path(path) in going]

    def cold_drops(self, number: int) -> list[str]:
        """What goes from a cold root: nobody needs it."""
        return [path for path in self.cold[number] if path not in self.needs.all]

    @property
    def sizes(self) -> Sizes:
        """Of all objects before and after."""
        going = set(self.drops)
        kept = [size for some in self.cold for path, size in some.items() if path in self.needs.all]
        return Sizes(
            hot_before=list(self.hot.values()),
            hot_after=[size for path, size in self.hot.items() if path not in going],
            cold_before=[size for some in self.cold for size in some.values()],
            cold_after=kept + self.new_copies,
            copied=self.new_copies,
        )


def plan_work(
    storage: LakeStorage, tiers: TierPolicy, roots: Sequence[ColdRoot], *, now: datetime, project: str | None
) -> Work:
    """Look at rows and roots, and see what is to be done.

    Args:
        storage: The lake.
        tiers: Where its files go.
        roots: Its cold roots, the present one first.
        now: The moment from which files are old.
        project: Only files of runs of this project.

    Raises:
        StoreError: If rows or roots cannot be read.
    """
    files, runs = files_and_runs(storage, now=now)
    moves = [
        one
        for one in decide(files, runs, tiers.rules, now=now)
        if one.is_move and project in {None, runs[one.file.key.run_id].facts.project}
    ]
    found = references(storage)
    wanted = needs(found, tiers_of(files) | {one.file.key: one.to for one in moves})
    hot = listed_hot(storage)
    return Work(
        moves=moves,
        needs=wanted,
        hot=hot,
        cold=[listed_cold(root) for root in roots],
        copies={path: first_path(path) for path in hot if first_path(path) in wanted.cold},
        held=by_key(found.holdings),
        projects={run_id: state.facts.project for run_id, state in runs.items()},
    )


def needs_now(storage: LakeStorage) -> Needs:
    """What has to be where by the rows that there are now.

    Args:
        storage: The lake.
    """
    files, _ = files_and_runs(storage, now=utc_now())
    return needs(references(storage), tiers_of(files))


def listed_hot(storage: LakeStorage) -> dict[str, int]:
    """Sizes of the objects in the lake's own root."""
    return {one.path: one.size_bytes for prefix in (OBJECTS, CHUNKS) for one in storage.store.list(prefix)}


def listed_cold(root: ColdRoot) -> dict[str, int]:
    """Sizes of the objects in a cold root."""
    return {one.path: one.size_bytes for one in root.files(OBJECTS, CHUNKS)}


def tiers_of(files: Iterable[HeldFile]) -> dict[FileKey, str]:
    """The tier of each file."""
    return {file.key: file.tier for file in files}


def is_damaged(path: str, data: bytes) -> bool:
    """Whether the bytes of an object or a chunk are not what its path says."""
    name = path.rsplit("/", 1)[1]
    if path.startswith(OBJECTS):
        return hashlib.sha256(data).hexdigest() != name[:64]
    try:
        decode(data, name)
    except StoreError:
        return True
    return False
