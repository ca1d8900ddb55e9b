"""From facts to lake: a buffer, a background writer, one recorder per run. Knows no Lightning."""

from lightning_lde.recording._episodes import episode_rows
from lightning_lde.recording._recorder import Recorder

__all__ = ["Recorder", "episode_rows"]
