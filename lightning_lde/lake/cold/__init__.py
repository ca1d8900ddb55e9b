"""The cold tier: few large files per table, of which a numbered manifest says which count."""

from lightning_lde.lake.cold._absorbed import AbsorbedNumbers, still_there
from lightning_lde.lake.cold._compact import GRACE, Compaction, compact
from lightning_lde.lake.cold._delta import client_options
from lightning_lde.lake.cold._erased import is_erased, read_erased
from lightning_lde.lake.cold._manifest import ColdFile, Manifest, newest_manifest
from lightning_lde.lake.cold._rows import SORTED_BY
from lightning_lde.lake.cold._settled import LEASE, SETTLED_AFTER
from lightning_lde.lake.cold._vacuum import KEPT_FOR

__all__ = [
    "GRACE",
    "KEPT_FOR",
    "LEASE",
    "SETTLED_AFTER",
    "SORTED_BY",
    "AbsorbedNumbers",
    "ColdFile",
    "Compaction",
    "Manifest",
    "client_options",
    "compact",
    "is_erased",
    "newest_manifest",
    "read_erased",
    "still_there",
]
