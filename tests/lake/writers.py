"""Writers of a lake for tests of compaction: parcels, merged files, and a process that is killed at any operation."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timezone

import pyarrow as pa

from lightning_lde.lake import LakeStorage
from lightning_lde.schema import Metric, Param, Run, new_run_id, records_to_arrow
from lightning_lde.testing import Fault, FaultKind, FaultyStore

DAY = date(2026, 1, 1)
LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)
_VALUES = itertools.count()


class KilledError(BaseException):
    """What a process that is killed does not survive."""


@dataclass
class Writer:
    """A run that writes parcels of points, as the recorder does, and knows what it wrote.

    Attributes:
        storage: The lake.
        project: The project.
        run_id: The run.
        parcels: The values of each parcel.
        status: The state in its last parcel.
        states: All states that it ever was in.
    """

    storage: LakeStorage
    project: str = "p"
    run_id: str = field(default_factory=new_run_id)
    parcels: list[list[float]] = field(default_factory=list)
    status: str = "running"
    states: set[str] = field(default_factory=set)

    def send(self, n: int = 3, *, status: str = "running", heard_at: datetime = LONG_AGO) -> None:
        """Send one more parcel: points, a parameter that all runs have, and a state."""
        self.status = status
        self.states.add(status)
        self.parcels.append([float(next(_VALUES)) for _ in range(n)])
        self._append(len(self.parcels) - 1, status, heard_at)

    def send_again(self, number: int) -> None:
        """Send a parcel once more, as who finds the spool of a dead process does."""
        self._append(number, self.status, LONG_AGO)

    def _append(self, number: int, status: str, heard_at: datetime) -> None:
        absorbed = self.storage.absorbed_numbers(self.run_id)
        for table, rows in self._rows(number, status, heard_at).items():
            if not absorbed.have(table, number):
                self.storage.append(table, rows, first=number, **self.place)

    def _rows(self, number: int, status: str, heard_at: datetime) -> dict[str, pa.Table]:
        points = [
            Metric(run_id=self.run_id, segment=0, name=f"m{value % 2:.0f}", step=number, time=LONG_AGO, value=value)
            for value in self.parcels[number]
        ]
        state = Run(
            run_id=self.run_id, segment=0, revision=number, project=self.project, status=status, started_at=LONG_AGO,
            heartbeat_at=heard_at, heartbeat_every_s=5.0,
        )  # fmt: skip
        setting = Param(config_id="c", key="lr", value_num=0.1, value_text="0.1", type="float")
        return {
            "metrics": records_to_arrow("metrics", points),
            "params": records_to_arrow("params", [setting]),
            "runs": records_to_arrow("runs", [state]),
        }

    @property
    def place(self) -> dict[str, object]:
        """Where its files lie."""
        return {"project": self.project, "day": DAY, "writer": self.run_id}

    def merge(self) -> None:
        """Replace its files by one for each table; none that went into the cold tables."""
        absorbed, last = self.storage.absorbed_numbers(self.run_id), len(self.parcels) - 1
        for table in ("metrics", "params", "runs"):
            found = self.storage.snapshot().files.get(table, ())
            mine = sorted(
                (one for one in found if one.writer == self.run_id and not absorbed.have(table, one.first)),
                key=lambda one: one.first,
            )
            if len(mine) < 2:
                continue
            rows = pa.concat_tables(self.storage.read(one) for one in mine)
            assert mine[-1].last <= last
            self.storage.append(table, rows, first=mine[0].first, last=mine[-1].last, **self.place)
            for one in mine:
                self.storage.remove(one)

    @property
    def values(self) -> list[float]:
        """All values that it wrote."""
        return [value for parcel in self.parcels for value in parcel]


def killed_at(storage: LakeStorage, number: int, kind: FaultKind) -> LakeStorage:
    """The same lake, for a process that is killed at its operation of that number: before it, after it, or within."""
    counted = itertools.count()

    def fault(_operation: str, path: str) -> Fault | None:
        at = next(counted)
        if at < number:
            return None
        # No store leaves half a file of rows under its name.
        last = FaultKind.AFTER if kind is FaultKind.TORN and path.startswith("hot/") else kind
        return Fault(last if at == number else FaultKind.BEFORE, error=KilledError)

    dying = LakeStorage(storage.url, storage.given_options)
    dying.store = FaultyStore(dying.store, fault)
    return dying


def run_id_of(moment: datetime) -> str:
    """An id as a run has it that began at a moment."""
    fresh = uuid.UUID(new_run_id()).int
    return str(uuid.UUID(int=int(moment.timestamp() * 1000) << 80 | fresh & (1 << 80) - 1))
