"""What a checkpoint keeps of its run, so that training which goes on from it goes on in the same run."""

from __future__ import annotations

import contextlib
import operator
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from lightning_lde.lake import LakeStorage
from lightning_lde.recording import _ending
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._known import secrets_around
from lightning_lde.schema import Resume, Run, RunStatus, utc_now

_LOOK_FOR_S = 3.0


class Moment(NamedTuple):
    """Where a training stands.

    Attributes:
        step: The logger's step.
        global_step: Optimizer steps so far.
        epoch: The epoch.
        context: ``"train"``, ``"val"``, ``"test"`` or ``"predict"``.
    """

    step: int | None = None
    global_step: int | None = None
    epoch: int | None = None
    context: str | None = None


@dataclass(frozen=True)
class RunState:
    """A run at the moment of a checkpoint; made of what ``torch.load(weights_only=True)`` accepts.

    Attributes:
        run_id: The run.
        started_at: When it began, in ISO form.
        segment: The segment that wrote the checkpoint.
        until: The time of the last point before the checkpoint, in microseconds since 1970.
        age_s: Seconds that the run was recorded for.
        identity: What must be equal for training to be the same run: module class, hyper-parameters, seed.
        facts: Columns of the run that stay as they were when it began.
        summary: Last, lowest and highest value of each metric.
    """

    run_id: str
    started_at: str
    segment: int
    until: int
    age_s: float = 0.0
    identity: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    summary: dict[str, dict[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain words, numbers and dicts."""
        return asdict(self)

    @classmethod
    def from_dict(cls, words: object) -> RunState | None:
        """The state in a checkpoint, None where another version or no run wrote it."""
        if not isinstance(words, Mapping) or not words.get("run_id"):
            return None
        known = {one.name for one in fields(cls)}
        try:
            state = cls(**{name: value for name, value in words.items() if name in known})
            datetime.fromisoformat(state.started_at)
            operator.index(state.until)
        except (TypeError, ValueError):
            return None
        return state

    def next_segment(self) -> int:
        """A number that no other attempt has and that grows: the milliseconds since 1970.

        Several attempts may go on from one checkpoint, without knowing of each other.
        """
        return max(time.time_ns() // 1_000_000, self.segment + 1)

    def applied_to(self, run: Run) -> dict[str, Any]:
        """Columns of the run's row that go on from what they were."""
        return {
            "run_id": self.run_id,
            "started_at": datetime.fromisoformat(self.started_at),
            "segment": self.next_segment() - 1,
            "summary": self.summary,
            **{name: value for name, value in self.facts.items() if hasattr(run, name)},
        }

    def as_row(self, segment: int, moment: Moment) -> Resume:
        """The row of the table ``resumes``.

        Args:
            segment: The segment that goes on from here.
            moment: Where its training begins.
        """
        return Resume(
            run_id=self.run_id,
            segment=segment,
            from_segment=self.segment,
            until=datetime.fromtimestamp(0, timezone.utc) + timedelta(microseconds=self.until),
            step=moment.step,
            global_step=moment.global_step,
            epoch=moment.epoch,
            recorded_at=utc_now(),
        )


def has_finished_elsewhere(storage: LakeStorage, project: str, state: RunState) -> bool:
    """Whether an attempt that went on from the same checkpoint has finished: its points must not be taken for old ones.

    A run that was erased counts as finished too: nobody goes on with it.

    A lake that does not answer within seconds is taken to know of none.

    Args:
        storage: The lake.
        project: The run's project.
        state: What the checkpoint kept.
    """
    found: list[bool] = []
    partition = Governance(known=secrets_around(storage.given_options)).without_secrets(project)

    def look() -> None:
        with contextlib.suppress(Exception):
            found.append(storage.was_erased(state.run_id) or any(_finished_siblings(storage, partition, state)))

    thread = threading.Thread(target=look, name="lde-resume", daemon=True)
    with contextlib.suppress(RuntimeError):
        _ending.begin(thread, threading.Event())
        thread.join(_LOOK_FOR_S)
    return found == [True]


def _finished_siblings(storage: LakeStorage, project: str, state: RunState) -> Iterator[bool]:
    siblings = set()
    for row in storage.rows_of_run("resumes", state.run_id, project=project):
        same = state.as_row(row["segment"], Moment())
        if (row["from_segment"], row["until"]) == (same.from_segment, same.until):
            siblings.add(row["segment"])
    if not siblings:
        return
    states = sorted(storage.rows_of_run("runs", state.run_id, project=project), key=lambda row: row["revision"])
    last = {row["segment"]: row["status"] for row in states}
    yield from (last.get(segment) == RunStatus.FINISHED for segment in siblings)
