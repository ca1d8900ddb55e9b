"""From facts to lake: a buffer, a spool, background senders, one recorder per run. Knows no Lightning."""

from lightning_lde.recording._blocks import blocks_to_tables
from lightning_lde.recording._episodes import episode_rows
from lightning_lde.recording._governance import KEYS_OF_OTHERS, NOT_AT_MINIMAL, VARIABLES
from lightning_lde.recording._manifests import keep_manifest, write_manifest
from lightning_lde.recording._process import describe_process, link_run
from lightning_lde.recording._recorder import Recorder
from lightning_lde.recording._results import add_results
from lightning_lde.recording._resume import Moment, RunState, has_finished_elsewhere
from lightning_lde.recording._spool import Rows, spool_root, spooled
from lightning_lde.recording._sync import SyncOutcome, discard_erased, sync_lake, sync_spools
from lightning_lde.recording._withheld import arguments_taken, launch_taken
from lightning_lde.recording._words import check_interval, words_of

__all__ = [
    "KEYS_OF_OTHERS",
    "NOT_AT_MINIMAL",
    "VARIABLES",
    "Moment",
    "Recorder",
    "Rows",
    "RunState",
    "SyncOutcome",
    "add_results",
    "arguments_taken",
    "blocks_to_tables",
    "check_interval",
    "describe_process",
    "discard_erased",
    "episode_rows",
    "has_finished_elsewhere",
    "keep_manifest",
    "launch_taken",
    "link_run",
    "spool_root",
    "spooled",
    "sync_lake",
    "sync_spools",
    "words_of",
    "write_manifest",
]
