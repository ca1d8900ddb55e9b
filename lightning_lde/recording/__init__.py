"""From facts to lake: a buffer, a background writer, one recorder per run. Knows no Lightning."""

from lightning_lde.recording._episodes import episode_rows
from lightning_lde.recording._recorder import Recorder, check_interval
from lightning_lde.recording._spool import spool_root
from lightning_lde.recording._sync import SyncOutcome, sync_spools

__all__ = ["Recorder", "SyncOutcome", "check_interval", "episode_rows", "spool_root", "sync_spools"]
