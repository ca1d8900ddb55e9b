"""What brings a run's parcels and files to the lake: threads of their own, in order, again and again."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from lightning_lde.capture import redact_text
from lightning_lde.errors import RecordingWarning, tell
from lightning_lde.lake import LakeStorage, StoredObject
from lightning_lde.recording._journal import Journal
from lightning_lde.recording._keeping import Keeper
from lightning_lde.recording._run_files import RunFile, Stored, store_latest
from lightning_lde.recording._sender import Sender
from lightning_lde.recording._spool import spool_root
from lightning_lde.recording._sync import sync_lake
from lightning_lde.recording._words import words_of
from lightning_lde.recording._writer import LakeWriter


class Delivery:
    """Sends what a journal has sealed, files, and what dead runs of this machine left for the same lake.

    Args:
        storage: The lake.
        journal: The run's journal.
        refuse: Called with a sentence about rows that can never be written.
    """

    def __init__(self, storage: LakeStorage, journal: Journal, refuse: Callable[[str], None]) -> None:
        self._storage = storage
        self._journal = journal
        self._refuse = refuse
        self._unwritten: dict[str, None] = {}
        self._writer = LakeWriter(storage, journal.header, refuse, journal.governance)
        self._rows = Sender("lde-rows", self._say_that_rows_wait)
        self._files = Sender("lde-files")
        self._keeper = Keeper(lambda: journal.place)
        # Beside this run's rows: however many there are, they hold up no heartbeat.
        self._orphans = Sender("lde-orphans")
        self._orphans_sent = False
        self._records: dict[RunFile, Callable[[RunFile, Stored], None]] = {}
        self._closed = False
        self._warned = False
        self._refused = ""

    def send(self) -> None:
        """Have the sealed parcels sent."""
        self._closed = False
        self._rows.add(self._send)

    def store(self, file: RunFile, record: Callable[[RunFile, Stored], None]) -> None:
        """Have a file stored, beside the rows; until it is, it is kept, whatever becomes of the original.

        Args:
            file: The file, as it is now.
            record: Called with what became of it, unless somebody else stores it.
        """
        kept = self._keeper.keep(file)
        self._journal.notes.add(kept)
        self._files.add(lambda: self._store(kept, record))

    def _store(self, file: RunFile, record: Callable[[RunFile, Stored], None]) -> None:
        self._writer.open()
        notes = self._journal.notes
        if self._writer.is_erased:
            self._let_go(file)
            return
        stored = store_latest(self._storage, file, self._journal.governance, lambda: notes.is_given_again(file))
        if not self._journal.owns(file):
            # Somebody has taken the note, and the row is theirs.
            notes.forget(file)
            self._keeper.let_go(file)
            return
        self._records[file] = record
        record(file, stored)

    def write(
        self, name: str, write: Callable[[Path, Callable[[str], str]], None], take: Callable[[str], None]
    ) -> None:
        """Have an object written and stored when the lake's policy is known, beside the rows.

        Args:
            name: What people call it.
            write: Writes it to a file; gets the file, and what makes a text fit to be written.
            take: Called with the object's id when it is in the lake.
        """

        def store() -> None:
            self._writer.open()
            object_id = None if governance.level == "minimal" else self._written(name, write)
            if object_id is not None:
                take(object_id)
            self._unwritten.pop(name, None)

        governance = self._journal.governance
        self._unwritten[name] = None
        self._files.add(store)

    def _written(self, name: str, write: Callable[[Path, Callable[[str], str]], None]) -> str | None:
        with tempfile.TemporaryDirectory(prefix="lde-") as folder:
            file = Path(folder) / "object"
            try:
                write(file, self._journal.governance.text)
            except Exception as error:
                # Trying again would hold up all that come after it.
                self._refuse(f"{name} could not be written: {words_of(error)}")
                return None
            return self._storage.put_object(file)

    def wait_for_files(self, *, timeout_s: float, patience_s: float) -> bool:
        """Wait until all files are stored; whether they are."""
        stored = self._files.drain(timeout_s=timeout_s, patience_s=patience_s)
        if not stored and self._journal.is_on_disk:
            # Their notes lie there; a file that is being sent still will be recorded when it is.
            self._files.abandon()
        return stored

    def wait_for_rows(self, *, timeout_s: float, patience_s: float) -> bool:
        """Wait until all parcels are sent, then merge the run's small files; whether all are sent.

        What is not sent by then is left on the disk, to whoever sends what dead runs have left.
        """
        deadline = time.monotonic() + timeout_s
        sent = self._wait_for_both(deadline, patience_s)
        if sent:
            # Small files read as well: whether they are merged in time is not a matter of completeness.
            self._rows.add(self._merge)
            self._rows.drain(timeout_s=deadline - time.monotonic(), patience_s=0.0)
            self._journal.close()
        elif self._journal.is_on_disk:
            self._rows.abandon()
            self._journal.close()
        self._closed = True
        refused, self._writer.refused = self._writer.refused, 0
        if refused:
            what = "rows that can never be written, or that were damaged on the disk,"
            self._refused = f"{what} were put aside, as *.refused in {spool_root()}"
        return sent and not refused

    def _wait_for_both(self, deadline: float, patience_s: float) -> bool:
        """Wait for rows, then for the second look at files; what that stores again has rows, which come last."""
        while True:
            sent = self._rows.drain(timeout_s=deadline - time.monotonic(), patience_s=patience_s)
            # Where that fails the notes stay, and somebody else looks.
            looked = sent and self._files.drain(timeout_s=deadline - time.monotonic(), patience_s=patience_s)
            if not looked or self._rows.is_idle:
                return sent

    def complain(self, run_id: str, reason: object, *, raises: bool) -> None:
        """Say that a run is not completely in the lake, and how to send the rest.

        Args:
            run_id: The run.
            reason: Why, None to say what failed last.
            raises: Whether to raise instead of warning.

        Raises:
            OSError: If it shall.
        """
        reason = reason or self._refused or self._error() or "the lake did not answer in time"
        message = f"run {run_id} is not completely in the lake at {self._storage.url}: {reason}"
        if self._journal.path is not None:
            message += f"; the rest waits in {self._journal.path}, send it with: lde sync"
        unstored = self._journal.notes.unstored
        if kept := [file.path for file in unstored if file.kept is not None]:
            message += f"; files that are not stored, and are kept until then: {_first(kept)}"
        if there := [file.path for file in unstored if file.kept is None]:
            message += f"; files that are not stored, and must stay where they are until then: {_first(there)}"
        if self._unwritten:
            message += f"; not stored: {_first(list(self._unwritten))}"
        if self._journal.dropped:
            message += f"; {self._journal.dropped} metric values were dropped, disk and memory were full"
        message = redact_text(message)
        told, self._warned = self._warned, True
        if raises:
            raise OSError(message)
        if not told:
            tell(message, RecordingWarning)

    def _error(self) -> Exception | None:
        return self._rows.error or self._files.error

    def _send(self) -> None:
        outbox = self._journal.outbox
        self._writer.send(outbox)
        sent = deque(self._journal.notes.take_sent(outbox.last_sent))
        if sent:
            # Beside the rows: it may take a request for each chunk of them.
            self._files.add(lambda: self._look_again(sent))
        if not self._orphans_sent:
            self._orphans_sent = True
            self._orphans.add(self._send_orphans)

    def _look_again(self, sent: deque[tuple[RunFile, StoredObject | None]]) -> None:
        """Let go of files whose rows are in the lake, unless somebody deletes there what had no row before.

        Who deletes says what first, and then looks for rows; this looks in the other order, so one sees the other.
        """
        while sent:
            file, content = sent[0]
            record = self._records.get(file)
            if (
                content is None
                or record is None
                or self._writer.is_erased
                or not self._storage.is_condemned_since(content)
            ):
                self._let_go(file)
            else:
                self._journal.notes.waits_again(file)
                self._store(file, record)
            sent.popleft()

    def _let_go(self, file: RunFile) -> None:
        self._records.pop(file, None)
        self._keeper.let_go(file)
        self._journal.notes.remove(file)

    def _send_orphans(self) -> None:
        for outcome in sync_lake(self._storage):
            if outcome.error is not None and not outcome.path.exists():
                # It was put aside: nobody will try it again, so this is the time to say so.
                self._refuse(f"of run {outcome.run_id}, whose process is gone: {outcome.error}"[:1000])
            if self._closed:
                return

    def _merge(self) -> None:
        # A merge that fails leaves small files, which read as well.
        with contextlib.suppress(Exception):
            self._writer.merge()

    def _say_that_rows_wait(self, error: Exception) -> None:
        place = "in memory" if self._journal.path is None else f"in {self._journal.path}"
        if not self._warned:
            message = redact_text(f"the lake at {self._storage.url} cannot be written now, rows wait {place}: {error}")
            tell(message, RecordingWarning)


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
