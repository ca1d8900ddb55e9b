"""The row of a run as it stands now: its facts, its age, its next heartbeat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_lde.recording._resume import RunState
from lightning_lde.schema import Run, RunStatus, odd_fields, records_to_arrow, utc_now

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_FLUSH_S = 60.0
_SHARE_OF_AGE = 1 / 20
_KEPT_FROM_THE_START = ("weights_start_id", "dataset_config_id", "pipeline_config_id", "reproduces")


class PresentRun:
    """Changes the row of a run, from any thread.

    Args:
        run: The row of a new run.
        flush_every_s: Seconds between two heartbeats of a young run.
        resumes: What a checkpoint kept of the run that goes on, None for a new one.

    Attributes:
        run: The row.
        has_news: Whether columns were set since the last state was written.
    """

    def __init__(self, run: Run, *, flush_every_s: float, resumes: RunState | None) -> None:
        self.run = run if resumes is None else replace(run, **resumes.applied_to(run))
        self._flush_every_s = flush_every_s
        self._began = time.monotonic()
        self._age_before_s = 0.0 if resumes is None else resumes.age_s
        self._lock = threading.Lock()
        self.has_news = False

    def change(self, **facts: Any) -> None:
        """Set columns."""
        self._set(**facts)
        # In this order: a state that is written meanwhile may be written twice, but nothing is left out.
        self.has_news = True

    def _set(self, **facts: Any) -> None:
        with self._lock:
            self.run = replace(self.run, **facts)

    def begin_segment(self, stage: str) -> None:
        """The next segment; how an earlier one ended is that one's matter, but a test keeps why a fit stopped."""
        kept = {} if stage == "fit" else {"stop_reason": self.run.stop_reason}
        facts: dict[str, Any] = {"ended_at": None, "duration_s": None, "exception": None, "stop_reason": None, **kept}
        self.change(segment=self.run.segment + 1, status=RunStatus.RUNNING, stage=stage, **facts)

    def end(self, status: str, *, stop_reason: str | None, exception: str | None) -> dict[str, Any]:
        """The columns that a segment ends with."""
        return {
            "status": status,
            "stop_reason": stop_reason or self.run.stop_reason,
            "exception": exception,
            "ended_at": utc_now(),
            "duration_s": self.age_s(),
        }

    def age_s(self) -> float:
        """Seconds that the run was recorded for, by whichever process, whatever happens to the clock meanwhile."""
        return self._age_before_s + time.monotonic() - self._began

    def flush_interval_s(self) -> float:
        """Seconds until rows should reach the lake, growing with the age of the process's part of the run."""
        age_s = time.monotonic() - self._began
        return max(self._flush_every_s, min(age_s * _SHARE_OF_AGE, LONGEST_FLUSH_S))

    def at_checkpoint(self, *, until: int, identity: str | None, summary: dict[str, dict[str, float]]) -> RunState:
        """What a checkpoint keeps of it.

        Args:
            until: The time of the last point before it, in microseconds since 1970.
            identity: What must be equal for a training to be the same run.
            summary: Last, lowest and highest value of each metric.
        """
        run = self.run
        return RunState(
            run_id=run.run_id,
            started_at=run.started_at.isoformat(),
            segment=run.segment,
            until=until,
            age_s=self.age_s(),
            identity=identity,
            facts={name: value for name in _KEPT_FROM_THE_START if (value := getattr(run, name)) is not None},
            summary=summary,
        )

    def next_state(
        self, ending: Mapping[str, Any], summary: Mapping[str, Any] | None, refuse: Callable[[str], None]
    ) -> pa.Table:
        """The next state as a row of the table ``runs``, which is a heartbeat too.

        Args:
            ending: What `end` gave, empty while the segment goes on.
            summary: The summary of its metrics, None to leave it as it is.
            refuse: Called with a sentence about facts that cannot be stored.
        """
        facts: dict[str, Any] = {} if summary is None else {"summary": summary}
        self.has_news = False
        # Readers take a run for lost after three heartbeats that did not come.
        facts |= {"heartbeat_at": utc_now(), "heartbeat_every_s": 2 * self.flush_interval_s(), **ending}
        self._set(revision=self.run.revision + 1, **facts)
        try:
            return records_to_arrow("runs", [self.run])
        except Exception:
            odd = odd_fields(self.run)
            refuse(f"facts of the run cannot be stored, they were left out: {', '.join(odd)}")
            self._set(**odd)
            return records_to_arrow("runs", [self.run])
