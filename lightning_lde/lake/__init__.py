"""Storage of a lake: stores, file layout, appends, snapshots and objects. Knows no Lightning and no torch."""

from lightning_lde.lake._actions import Action
from lightning_lde.lake._layout import HotFile, current_files, hot_path, object_path, parse_hot_path
from lightning_lde.lake._scan import arrow_dataset, files_schema, parquet_source, quoted
from lightning_lde.lake._snapshot import Snapshot
from lightning_lde.lake._storage import LakeStorage
from lightning_lde.lake.check import CheckReport, Finding
from lightning_lde.lake.cold import LEASE, AbsorbedNumbers, ColdFile, Compaction
from lightning_lde.lake.erase import Preview, Receipt, Request
from lightning_lde.lake.objects import WHOLE, Collected, Holding, References, StoredObject

__all__ = [
    "LEASE",
    "WHOLE",
    "AbsorbedNumbers",
    "Action",
    "CheckReport",
    "ColdFile",
    "Collected",
    "Compaction",
    "Finding",
    "Holding",
    "HotFile",
    "LakeStorage",
    "Preview",
    "Receipt",
    "References",
    "Request",
    "Snapshot",
    "StoredObject",
    "arrow_dataset",
    "current_files",
    "files_schema",
    "hot_path",
    "object_path",
    "parquet_source",
    "parse_hot_path",
    "quoted",
]
