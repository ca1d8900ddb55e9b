"""Stores a file that a dead process noted, and sends its row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from lightning_lde.errors import StoreError
from lightning_lde.lake import AbsorbedNumbers, LakeStorage
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._known import secrets_around
from lightning_lde.recording._parcels import send_rows
from lightning_lde.recording._run_files import RunFile, Stored, store_file
from lightning_lde.recording._spool import Rows, SpoolHeader
from lightning_lde.schema import Event, records_to_arrow, utc_now

_ATTEMPTS = 5


class OpenLake(NamedTuple):
    """A lake that what was left is sent to.

    Attributes:
        storage: The lake.
        governance: What all rows and files pass; it knows the policy of the lake.
        absorbed: What the cold tables have of the writer already.
    """

    storage: LakeStorage
    governance: Governance
    absorbed: AbsorbedNumbers


def opened(header: SpoolHeader, open_lake: Callable[[str, dict[str, Any]], LakeStorage | None]) -> OpenLake | None:
    """The lake of a spool file or of a note, None where it is to be left alone.

    Args:
        header: Where the rows belong.
        open_lake: Gives the lake of an address and of storage options that are no secret.
    """
    storage = open_lake(header.lake, header.options)
    if storage is None:
        return None
    storage.initialise()
    governance = Governance(known=secrets_around(storage.given_options), people=header.people)
    governance.learn(storage.policy())
    return OpenLake(storage, governance, storage.absorbed_numbers(header.writer))


def store_and_send(lake: OpenLake, header: SpoolHeader, file: RunFile, refuse: Callable[[str], None]) -> int:
    """Store a file and send its row, again while somebody deletes what is stored because it had none; how many rows.

    Args:
        lake: Where to.
        header: Where the row belongs.
        file: The file, as its note says.
        refuse: Called with a sentence about rows that cannot be written.

    Raises:
        StoreError: If the lake does not take it now.
    """
    sent, number = 0, header.number
    for _ in range(_ATTEMPTS):
        found = file.find()
        stored = Stored(None, f"{file.path} was changed before it could be stored, or is gone")
        if found.is_as_given:
            stored = store_file(lake.storage, file, found.place, lake.governance)
        while any(lake.absorbed.have(table, number) for table in ("artifacts", "events")):
            # What was sent then may name chunks that are gone by now.
            number += 1
        rows = [_rows_about(file, stored)]
        one = replace(header, number=number)
        sent += sum(count for _, count in send_rows(lake.storage, one, rows, refuse, lake.governance, lake.absorbed))
        if stored.content is None or not lake.storage.is_condemned_since(stored.content):
            return sent
        number += 1
    raise StoreError(
        f"{file.path} was stored {_ATTEMPTS} times, and each time others were about to delete it; try again"
    )


def that_it_waits(file: RunFile, missing: list[str]) -> str:
    """What is said of a file that may hold secrets which nobody knows here."""
    names = ", ".join(missing)
    return (
        f"{file.path} waits: what stood in {names} when the run gave it has to be taken out of it, and is not known "
        "here; set the same values, or store it as it is with: lde sync --without-known-secrets"
    )


def _rows_about(file: RunFile, stored: Stored) -> Rows:
    tables = {}
    if stored.artifact is not None:
        tables["artifacts"] = records_to_arrow("artifacts", [stored.artifact])
    if stored.warning is not None:
        event = Event(
            run_id=file.run_id,
            segment=file.segment,
            time=utc_now(),
            level="warning",
            kind="artifact",
            message=stored.warning,
        )
        tables["events"] = records_to_arrow("events", [event])
    return Rows(tables)
