"""One lake as storage: tables, objects, and the maintenance of both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import final

from lightning_lde.errors import EraseError, StoreError
from lightning_lde.lake._object_storage import ObjectStorage
from lightning_lde.lake.check import CheckReport, check
from lightning_lde.lake.cold import GRACE, KEPT_FOR, SETTLED_AFTER, Compaction, compact
from lightning_lde.lake.erase import Preview, Receipt, Request, erase, finish, preview, read_receipts
from lightning_lde.lake.objects import CONDEMNED_FOR, OLDER_THAN, Collected, References, collect, references
from lightning_lde.lake.tiers import Restoring, Tiering, TierLook, restore, tier


@final
class LakeStorage(ObjectStorage):
    """Storage of one lake. Making the object does no input or output.

    Args:
        url: A folder, ``s3://bucket/prefix`` or any URL that fsspec knows.
        storage_options: fsspec's options for the protocol.

    Attributes:
        store: The files.
        public_options: Those of the options that say where the lake is and are no secret.
        given_options: All of the options.

    Raises:
        LakeURLError: If the address or the options cannot be understood.
    """

    def compact(
        self,
        *,
        project: str | None = None,
        silent_for: timedelta = SETTLED_AFTER,
        grace: timedelta = GRACE,
        kept_for: timedelta = KEPT_FOR,
        tell: Callable[[Compaction], None] | None = None,
    ) -> Compaction:
        """Bring the rows of runs that are over into the cold tables, see docs/compaction.md.

        Args:
            project: Only the files of this project.
            silent_for: How long a run must have been over, or silent; below a day only where nothing is running.
            grace: How long hot files stay after their rows went into cold ones, for readers that began before.
            kept_for: How long cold files stay after their rows went into others.
            tell: Called after each step.

        Raises:
            LakeNotFoundError: If there is no lake.
            StoreError: If the storage fails; what was done until then stays done.
        """
        self.require()
        self._lift_format()
        with contextlib.suppress(EraseError):
            finish(self)
        done = Compaction()
        try:
            compact(
                self.store,
                project=project,
                silent_for=silent_for,
                grace=grace,
                kept_for=kept_for,
                options=self.given_options,
                tell=tell,
                done=done,
            )
        except Exception as error:
            self.note_action("compact", {**done.details(), "failed": type(error).__name__})
            raise
        if done.did_something:
            self.note_action("compact", done.details())
        return done

    def references(self) -> References:
        """What the rows refer to at this moment, below ``objects/`` and ``chunks/``.

        Raises:
            StoreError: If a file of rows, or a recipe, cannot be read.
        """
        return references(self)

    def collect(
        self,
        *,
        older_than: timedelta = OLDER_THAN,
        condemned_for: timedelta = CONDEMNED_FOR,
        dry_run: bool = False,
    ) -> Collected:
        """Delete objects and chunks that no row refers to, see docs/objects.md.

        Args:
            older_than: Files that were written since stay.
            condemned_for: How long files are condemned before another collection deletes them.
            dry_run: Whether nothing shall be changed.

        Raises:
            LakeNotFoundError: If there is no lake.
            StoreError: If the storage fails, or a file of rows or a recipe cannot be read.
        """
        self.require()
        done = collect(self, older_than=older_than, condemned_for=condemned_for, dry_run=dry_run)
        if not dry_run and (done.deleted or done.waiting):
            self.note_action("gc", done.details())
        return done

    def tier(
        self,
        *,
        now: datetime | None = None,
        dry_run: bool = False,
        project: str | None = None,
        tell: Callable[[Tiering], None] | None = None,
    ) -> Tiering:
        """Bring files of runs to the cold root, or away, as the rules of the lake's tiers say; see docs/tiers.md.

        Args:
            now: Another moment than the present.
            dry_run: Only say what would be done, and what it costs.
            project: Only files of runs of this project.
            tell: Called now and then with what was done so far.

        Raises:
            LakeNotFoundError: If there is no lake.
            ConfigurationError: If the tiers cannot be understood, or there is no cold root for what shall go there.
            StoreError: If a storage fails; what was done until then stays done.
        """
        try:
            done = tier(self, now=now, dry_run=dry_run, project=project, tell=tell)
        except StoreError as error:
            # What was done until then stays done.
            if not dry_run:
                self.note_action("tier", {"failed": type(error).__name__})
            raise
        if not (done.is_dry_run or done.was_busy):
            self.note_action("tier", done.details())
        return done

    def restore(
        self,
        run_ids: Collection[str],
        *,
        match: str = "*",
        days: int = 7,
        retrieval: str = "Standard",
        dry_run: bool = False,
        wait: bool = False,
        tell: Callable[[Restoring], None] | None = None,
    ) -> Restoring:
        """Bring cold files of runs back into the lake's own root; what is archived is asked for.

        Args:
            run_ids: Whole ids.
            match: Only files whose path this glob means.
            days: For how many days archived objects are asked for.
            retrieval: How fast: ``Bulk``, ``Standard`` or ``Expedited``.
            dry_run: Only say what is where.
            wait: Go on until all is back.
            tell: Called after each look.

        Raises:
            LakeNotFoundError: If there is no lake.
            ConfigurationError: If an argument cannot work.
            StoreError: If a storage fails; what was done until then stays done.
        """
        done = restore(
            self, run_ids, match=match, days=days, retrieval=retrieval, dry_run=dry_run, wait=wait, tell=tell
        )
        if not (done.is_dry_run or done.was_busy):
            self.note_action("restore", {"runs": len(run_ids), **done.details()})
        return done

    def erase(self, request: Request, *, force: bool = False, silent_for: timedelta = SETTLED_AFTER) -> Receipt | None:
        """Erase what a request asks for from every file of the lake, see docs/erase.md.

        Spools are on disks of machines, not in the lake: `erasing.erase` sees to those of this one too.

        Args:
            request: What is to be erased.
            force: Also runs that are running; what they send later is given up.
            silent_for: How long other runs must have been silent whose files change, if they never ended.

        Returns:
            The receipt; None if there was nothing to erase.

        Raises:
            EraseError: If writers or other maintenance are at work.
            LakeNotFoundError: If there is no lake.
            StoreError: If the storage fails; the next erasure or compaction finishes what was begun.
        """
        self.require()
        self._lift_format()
        return erase(self, request, force=force, silent_for=silent_for)

    def preview_erase(self, request: Request, *, silent_for: timedelta = SETTLED_AFTER) -> Preview:
        """What `erase` would do; nothing is changed.

        Args:
            request: What is to be erased.
            silent_for: As for `erase`.
        """
        self.require()
        return preview(self, request, silent_for=silent_for)

    def receipts(self) -> list[Receipt]:
        """What was erased from the lake, newest first: in hashes, never what it was."""
        self.require()
        return read_receipts(self.store)

    def check(
        self,
        *,
        deep: bool = False,
        repair: bool = False,
        tell: Callable[[str, int, int], None] | None = None,
    ) -> CheckReport:
        """Look at everything in the lake, see docs/check.md; safe beside writers, readers and a compaction.

        Args:
            deep: Whether contents are read: all pages of all files, all bytes of all objects.
            repair: Whether to do about each finding what can be done without losing anything.
            tell: Told what is looked at, how many are done, and of how many.

        Raises:
            LakeNotFoundError: If there is nothing of a lake.
            LakeURLError: If the lake has a newer format.
            StoreError: If the storage fails.
        """
        report = check(self.store, self.given_options, deep=deep, repair=repair, tell=tell, tiers=TierLook(self))
        repaired = [finding for finding in report.findings if finding.is_repaired]
        if repaired:
            said = [{"kind": one.kind, "path": one.path, "repair": one.repair} for one in repaired]
            self.note_action("repair", {"repaired": said})
        return report
