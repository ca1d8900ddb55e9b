"""What a check of a lake has to know of its tiers: what lies in cold roots, and which files are there no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lightning_lde.errors import LDEError
from lightning_lde.lake._layout import OBJECTS
from lightning_lde.lake.objects import CHUNKS
from lightning_lde.lake.stores import StoredFile
from lightning_lde.lake.tiers._plan import FileKey
from lightning_lde.lake.tiers._root import cold_roots
from lightning_lde.lake.tiers._rows import files_and_runs
from lightning_lde.schema import Tier, utc_now

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage


class TierLook:
    """The tiers as they are when somebody looks; what cannot be seen is said and hides nothing else.

    Args:
        storage: The lake.

    Attributes:
        problems: Cold roots that cannot be seen, each with the reason.
    """

    def __init__(self, storage: LakeStorage) -> None:
        self._storage = storage
        self._tiers: Mapping[FileKey, str] | None = None
        self.problems: list[str] = []

    def cold(self) -> list[StoredFile]:
        """What lies in cold roots."""
        self._tiers, self.problems = None, []
        found: list[StoredFile] = []
        try:
            for root in cold_roots(self._storage.tiers(), self._storage.store, self._storage.given_options):
                root.require_there()
                found += root.files(OBJECTS, CHUNKS)
        except (LDEError, OSError, ValueError, LookupError) as error:
            self.problems.append(str(error))
        return found

    def is_elsewhere(self, run_id: str, path: str, object_id: str) -> bool:
        """Whether a file's bytes need not be anywhere that was seen: deleted, or cold in a root that is away."""
        if self._tiers is None:
            self._tiers = self._read()
        tier = self._tiers.get(FileKey(run_id, path, object_id), Tier.HOT)
        return tier == Tier.DELETED or (tier == Tier.COLD and bool(self.problems))

    def _read(self) -> Mapping[FileKey, str]:
        try:
            files, _ = files_and_runs(self._storage, now=utc_now())
        except (LDEError, OSError, ValueError, LookupError):
            # Rows are damaged, which the check says itself.
            return {}
        return {file.key: file.tier for file in files}
