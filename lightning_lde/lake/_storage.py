"""One lake as storage: tables that are appended to, a listing of their files, and objects by content."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple

from lightning_lde.errors import EraseError, LakeNotFoundError, LakeURLError, RowsError, StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake._actions import Action, note_action, read_actions
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake._parquet import DICTIONARY_COLUMNS, write_parquet
from lightning_lde.lake.check import CheckReport, check
from lightning_lde.lake.cold import (
    GRACE,
    KEPT_FOR,
    SETTLED_AFTER,
    SORTED_BY,
    AbsorbedNumbers,
    ColdFile,
    Compaction,
    Manifest,
    client_options,
    compact,
    is_erased,
    newest_manifest,
    read_erased,
    still_there,
)
from lightning_lde.lake.erase import Preview, Receipt, Request, erase, finish, preview, read_receipts
from lightning_lde.lake.objects import (
    CONDEMNED_FOR,
    OLDER_THAN,
    Collected,
    Objects,
    References,
    StoredObject,
    collect,
    references,
)
from lightning_lde.lake.stores import Store, open_store
from lightning_lde.lake.tiers import ColdRoot, Restoring, Tiering, TierLook, cold_roots, require_apart, restore, tier
from lightning_lde.policy import STRICTEST, Policy, new_policy, policy_of
from lightning_lde.schema import FORMAT_VERSION, Record, new_run_id, records_to_arrow, utc_now
from lightning_lde.tiering import TierPolicy, new_tier_id, tier_policy_of

if TYPE_CHECKING:
    import pyarrow as pa

PAUSES_S = (0.2, 0.8)
"""Before a write is tried again that nobody else will repeat."""

_ROOTS_FOR_S = 30.0
_PUBLIC_OPTIONS = ("endpoint_url", "region", "anon")


@dataclass(frozen=True)
class Snapshot:
    """The files of a lake at one moment: each row stands in one of them.

    Attributes:
        files: Of the hot tier, by table.
        cold: Of the cold tables.
    """

    files: Mapping[str, tuple[HotFile, ...]]
    cold: Mapping[str, tuple[ColdFile, ...]] = field(default_factory=dict)

    def paths(self, table: str) -> list[str]:
        """Paths of the files of a table, relative to the lake's root."""
        cold = [file.path for file in self.cold.get(table, ())]
        return cold + [file.path for file in self.files.get(table, ())]

    def of_runs(self, run_ids: Collection[str]) -> Snapshot:
        """The same without cold files that have no row of any of some runs.

        Args:
            run_ids: Whole ids.
        """
        cold = {
            table: tuple(file for file in files if any(_may_have(file, run_id) for run_id in run_ids))
            if SORTED_BY.get(table, ("",))[0] == "run_id"
            else files
            for table, files in self.cold.items()
        }
        return replace(self, cold=cold)

    def apart(self, table: str) -> tuple[list[str], list[str]]:
        """Paths of the files of which nothing stands twice, in themselves or in two of them; and of all others."""
        alone: list[str] = []
        together: list[str] = []
        for group in _overlapping(self.cold.get(table, ())):
            is_alone = len(group) == 1 and group[0].is_distinct
            (alone if is_alone else together).extend(file.path for file in group)
        return alone, together + [file.path for file in self.files.get(table, ())]


def _may_have(file: ColdFile, value: str) -> bool:
    return file.first is None or file.last is None or file.first <= value <= file.last


def _overlapping(files: Iterable[ColdFile]) -> list[list[ColdFile]]:
    """Files in groups, each of which has other values in the first column of its order than the others have."""
    groups: list[list[ColdFile]] = []
    furthest = ""
    for file in sorted(files, key=lambda file: (file.first or "", file.last or "")):
        if groups and (file.first or "") <= furthest:
            groups[-1].append(file)
        else:
            groups.append([file])
        furthest = max(furthest, file.last or "")
    return groups


class _Cold(NamedTuple):
    """What one manifest says: the cold tables, hot files whose rows are in them, hashes of what was erased."""

    manifest: Manifest
    absorbed: frozenset[str]
    erased: frozenset[str]

    def counting(self, files: Iterable[HotFile | None]) -> Iterator[HotFile]:
        """Files of the hot tier without those whose rows are elsewhere, or were erased."""
        is_gone = is_erased(self.erased)
        return (one for one in files if one is not None and one.path not in self.absorbed and not is_gone(one.writer))


class LakeStorage:
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

    def __init__(self, url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        self.store: Store = open_store(url, storage_options)
        self.given_options = dict(storage_options or {})
        given = self.given_options
        self.public_options = {name: given[name] for name in _PUBLIC_OPTIONS if given.get(name) is not None}
        # A manifest never changes: who knows the newest need not read it again.
        self._seen = _Cold(Manifest(), frozenset(), frozenset())
        self._objects: Objects | None = None
        self._roots: list[ColdRoot] | None = None
        self._roots_until = 0.0

    @property
    def url(self) -> str:
        """The lake's address."""
        return self.store.url

    @property
    def absolute_url(self) -> str:
        """The address that means the same in any working directory."""
        return self.store.absolute_url

    def address_of(self, path: str) -> str:
        """Where a file lies, as other programs ask for it: an absolute path on this machine's disk, or a URL."""
        return self.store.local_path(path) or f"{self.absolute_url}/{path}"

    def client_options(self) -> dict[str, str]:
        """The storage options as Delta's and Polars' clients spell them."""
        return client_options(self.store, self.given_options)

    def initialise(self) -> bool:
        """Make this address a lake; one that is a lake already stays as it is.

        Returns:
            Whether a new lake was made.

        Raises:
            LakeNotFoundError: If the bucket is missing, or a file is in the folder's place.
            StoreError: If the storage cannot be written.
        """
        if self.store.exists(_layout.MARKER) and not _is_torn(found := self.store.get(_layout.MARKER)):
            self._check_version(found)
            return False
        # Of two writers at once the later one's salt counts: whoever needs it reads it again.
        marker = {"format": "lightning-lde", "format_version": FORMAT_VERSION, "policy": new_policy().as_dict()}
        try:
            self.store.put(_layout.MARKER, _marker_bytes(marker))
        except StoreError:
            self.store.check_root()  # says it better where the bucket is missing or a file is in the way
            raise
        return True

    def require(self) -> None:
        """Make sure that there is a lake of a format that this version reads.

        Raises:
            LakeNotFoundError: If the bucket, the folder or the lake is missing.
            LakeURLError: If the lake has a newer format.
        """
        try:
            found = self.store.get(_layout.MARKER)
        except OSError as error:
            self.store.check_root()  # says it better where the bucket is missing or a file is in the way
            if not isinstance(error, FileNotFoundError):
                raise
            raise LakeNotFoundError(f"no lake at {self.url}: make one with `lde init {self.url}`") from error
        self._check_version(found)

    def _check_version(self, marker: bytes) -> None:
        try:
            version = int(json.loads(marker)["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise LakeURLError(f"{_layout.MARKER} at {self.url} is not a lake's: {error}") from error
        if version > FORMAT_VERSION:
            raise LakeURLError(
                f"the lake at {self.url} has format {version}, this version reads up to {FORMAT_VERSION}: "
                "upgrade lightning-lde"
            )

    def policy(self) -> Policy:
        """What the lake takes, read anew.

        Raises:
            FileNotFoundError: If there is no lake.
            StoreError: If it cannot be read.
        """
        try:
            marker = json.loads(self.store.get(_layout.MARKER))
        except ValueError:
            return STRICTEST
        return policy_of(marker) if isinstance(marker, dict) else STRICTEST

    def set_policy(self, policy: Policy) -> None:
        """Change what the lake takes from now on, by one write; what else the marker holds stays.

        Args:
            policy: The new policy; without a salt it gets one.
        """
        self.require()
        marker = json.loads(self.store.get(_layout.MARKER))
        salted = policy if policy.salt else replace(policy, salt=new_policy().salt)
        before = policy_of(marker).settings()
        self.store.put(_layout.MARKER, _marker_bytes({**marker, "policy": salted.as_dict()}))
        after = salted.settings()
        self.note_action("policy", {key: [before[key], after[key]] for key in after if before[key] != after[key]})

    def note_action(self, action: str, details: Mapping[str, Any]) -> Action:
        """Note what was done to the lake, with who did it as far as the policy lets people be named.

        Where the note cannot be written, a `MaintenanceWarning` holds it: what was done is done.

        Args:
            action: What was done, one word.
            details: What it came to: counts, sizes, settings; what JSON lacks becomes text.
        """
        return note_action(self.store, self.policy, action, details)

    def actions(self, limit: int | None = None) -> list[Action]:
        """What was done to the lake, newest first.

        Args:
            limit: How many at most; None for all.

        Raises:
            LakeNotFoundError: If there is no lake.
            StoreError: If the notes cannot be read.
        """
        self.require()
        return read_actions(self.store, limit)

    def tiers(self) -> TierPolicy:
        """Where files of the lake go when they are no longer needed at once, read anew.

        Raises:
            LakeNotFoundError: If there is no lake.
            StoreError: If it cannot be read.
        """
        self.require()
        return tier_policy_of(json.loads(self.store.get(_layout.MARKER)))

    def set_tiers(self, tiers: TierPolicy) -> None:
        """Change the tiers by one write; what else the marker holds stays.

        Args:
            tiers: The new tiers; without an id they get one.

        Raises:
            ConfigurationError: If the cold root lies in the lake, or the lake in it.
        """
        self.require()
        if tiers.cold_root is not None:
            require_apart(self.absolute_url, tiers.cold_root)
        marker = json.loads(self.store.get(_layout.MARKER))
        known = tiers if tiers.tier_id else replace(tiers, tier_id=new_tier_id())
        before = tier_policy_of(marker).settings()
        self.store.put(_layout.MARKER, _marker_bytes({**marker, "tiers": known.as_dict()}))
        self._roots = None
        after = known.settings()
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        self.note_action("policy", {key: [before.get(key, ""), after.get(key, "")] for key in keys})

    def append(
        self,
        table: str,
        rows: pa.Table | Iterable[pa.Table],
        *,
        project: str,
        day: date,
        writer: str,
        first: int,
        last: int | None = None,
        in_memory: bool = True,
    ) -> HotFile:
        """Add rows as one immutable file; when it returns they are in the lake.

        Args:
            table: The table's name.
            rows: At least one row, or tables of one schema that become a row group each.
            project: The project, a partition.
            day: The UTC day the writer started, a partition.
            writer: The run id, or another UUIDv7.
            first: The segment's number.
            last: The last number where the file merges several segments.
            in_memory: Whether the file may be put together in memory; a temporary file serves otherwise.

        Raises:
            RowsError: If the rows can never be written.
            StoreError: If the storage does not take them now.
        """
        file = self.place(table, project=project, day=day, writer=writer, first=first, last=last)
        groups = rows if isinstance(rows, Iterable) else [rows]
        if in_memory:
            buffer = io.BytesIO()
            _encode(buffer, table, groups)
            self.store.put(file.path, buffer.getvalue())
        else:
            with tempfile.NamedTemporaryFile(prefix="lde-", suffix=".parquet") as scratch:
                _encode(scratch, table, groups)
                scratch.flush()
                self.store.put_file(file.path, Path(scratch.name))
        return file

    @staticmethod
    def place(table: str, *, project: str, day: date, writer: str, first: int, last: int | None = None) -> HotFile:
        """The file that ``append`` makes for the same arguments."""
        path = _layout.hot_path(table, project=project, day=day, writer=writer, first=first, last=last)
        return HotFile(path, table, writer, first, first if last is None else last)

    def add_records(self, table: str, records: Sequence[Record], *, project: str) -> HotFile:
        """Add rows that belong to no run, as they are, under a writer id of their own.

        ``recording.add_results`` takes out first what the lake's policy does not take.

        Args:
            table: The table's name.
            records: At least one instance of the table's dataclass.
            project: The project, a partition.
        """
        return self.add_rows(table, records_to_arrow(table, records), project=project)

    def add_rows(self, table: str, rows: pa.Table, *, project: str) -> HotFile:
        """As ``add_records``, of rows that are Arrow already."""
        day, writer = utc_now().date(), new_run_id()
        for pause_s in PAUSES_S:
            with contextlib.suppress(StoreError):
                return self.append(table, rows, project=project, day=day, writer=writer, first=0)
            time.sleep(pause_s)
        return self.append(table, rows, project=project, day=day, writer=writer, first=0)

    def read(self, file: HotFile) -> pa.Table:
        """All rows of one file.

        Raises:
            FileNotFoundError: If it is gone, as after a merge.
        """
        import pyarrow.parquet as pq

        return pq.read_table(io.BytesIO(self.store.get(file.path)))

    def read_groups(self, file: HotFile | ColdFile) -> Iterator[pa.Table]:
        """The row groups of one file, one after the other; repeated words stay dictionary-encoded.

        Raises:
            FileNotFoundError: If it is gone, as after a merge.
        """
        import pyarrow.parquet as pq

        words = list(DICTIONARY_COLUMNS.get(file.table, ()))
        with pq.ParquetFile(io.BytesIO(self.store.get(file.path)), read_dictionary=words) as parquet:
            for number in range(parquet.num_row_groups):
                yield parquet.read_row_group(number, use_threads=False)

    def remove(self, file: HotFile) -> None:
        """Delete one file of the hot tier."""
        self.store.delete(file.path)

    def snapshot(self) -> Snapshot:
        """The files that there are now.

        The hot tier is listed first: what goes from there into the cold tables meanwhile is said by the manifest, and
        who does not find a file that was listed looks again.
        """
        listed = [_layout.parse_hot_path(stored.path) for stored in self.store.list(_layout.HOT)]
        cold = self._cold()
        tables: dict[str, list[HotFile]] = {}
        for file in _layout.current_files(cold.counting(listed)):
            tables.setdefault(file.table, []).append(file)
        return Snapshot({table: tuple(files) for table, files in tables.items()}, cold.manifest.tables)

    def _cold(self) -> _Cold:
        """What the cold tables consist of, and the hot files that do not count because of it."""
        for pause_s in (*PAUSES_S, None):
            manifest = newest_manifest(self.store, known=self._seen.manifest)
            if manifest is self._seen.manifest:
                return self._seen
            try:
                erased = read_erased(self.store, manifest)
                self._seen = _Cold(manifest, still_there(self.store, manifest), erased)
            except FileNotFoundError:
                # A list went with an older manifest: there is a newer one.
                if pause_s is None:
                    raise
                time.sleep(pause_s)
            else:
                return self._seen
        raise AssertionError

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

    def migrate(self) -> tuple[int, int]:
        """Bring the lake to the newest version of the format; older versions of this package refuse it then.

        Returns:
            The version that it had, and the one that it has.

        Raises:
            LakeNotFoundError: If there is no lake.
            LakeURLError: If the lake has a newer format, or cannot be understood.
            StoreError: If the storage fails.
        """
        self.require()
        before = self._lift_format()
        if before != FORMAT_VERSION:
            self.note_action("migrate", {"from": before, "to": FORMAT_VERSION})
        return before, FORMAT_VERSION

    def _lift_format(self) -> int:
        """Versions that do not know of cold tables must not take what is left for the whole; the version before."""
        marker = json.loads(self.store.get(_layout.MARKER))
        before = int(marker["format_version"])
        if before < FORMAT_VERSION:
            self.store.put(_layout.MARKER, _marker_bytes({**marker, "format_version": FORMAT_VERSION}))
        return before

    def was_erased(self, run_id: str) -> bool:
        """Whether a run was erased: what anybody has of it still is to be given up."""
        return is_erased(self._cold().erased)(run_id)

    def absorbed_numbers(self, writer: str) -> AbsorbedNumbers:
        """What the cold tables have of one writer, for who may send it again."""
        return AbsorbedNumbers(self.store, newest_manifest(self.store), writer)

    def rows_of_run(self, table: str, run_id: str, *, project: str) -> list[dict[str, Any]]:
        """The rows of a run in one table, without a query engine.

        Args:
            table: The table's name; it has a column ``run_id``.
            run_id: The run.
            project: Its project.
        """
        import pyarrow.parquet as pq

        listed = [_layout.parse_hot_path(one.path) for one in self.store.list(_layout.table_prefix(table, project))]
        seen = self._cold()
        hot = _layout.current_files(seen.counting(listed))
        cold = (one for one in seen.manifest.tables.get(table, ()) if (one.first or "") <= run_id <= (one.last or ""))
        rows: list[dict[str, Any]] = []
        for path in [*(file.path for file in hot), *(file.path for file in cold)]:
            rows += pq.read_table(io.BytesIO(self.store.get(path)), filters=[("run_id", "=", run_id)]).to_pylist()
        return rows

    def vanished(self, paths: Iterable[str]) -> set[str]:
        """Those of some files of the hot tier that are no longer there.

        Args:
            paths: Relative to the lake's root.
        """
        wanted = set(paths)
        folders = {"/".join(path.split("/")[:2]) for path in wanted}
        return wanted - {stored.path for folder in folders for stored in self.store.list(f"{folder}/")}

    @property
    def objects(self) -> Objects:
        """Files by their content."""
        # Tests put another store in the place of the first.
        if self._objects is None or self._objects.places.store is not self.store:
            self._objects = Objects(self.store, self._cold_roots)
        return self._objects

    def use_root(self, url: str) -> None:
        """Keep in mind that files are written to a cold root: from then on it has to be there.

        Args:
            url: Its address.
        """
        tiers = self.tiers()
        if url not in tiers.used_roots:
            marker = json.loads(self.store.get(_layout.MARKER))
            known = replace(tiers, used_roots=(*tiers.used_roots, url)).as_dict()
            self.store.put(_layout.MARKER, _marker_bytes({**marker, "tiers": known}))
            self._roots = None

    def _cold_roots(self) -> list[ColdRoot]:
        """Where files may lie that are not in the lake's own root; read now and then, as it hardly ever changes."""
        if self._roots is None or time.monotonic() > self._roots_until:
            self._roots = cold_roots(self.tiers(), self.store, self.given_options)
            self._roots_until = time.monotonic() + _ROOTS_FOR_S
        return self._roots

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

    def put_artifact(self, source: Path) -> StoredObject:
        """Store a file of any size: a large one in chunks, of which each is stored once.

        Args:
            source: The file; it is read once.

        Raises:
            FileNotFoundError: If there is no such file.
            StoreError: If it cannot be stored, or changed meanwhile.
        """
        return self.objects.put_artifact(source)

    def put_object(self, source: Path) -> str:
        """Store a file in one piece under the SHA-256 of its content; equal content is stored once.

        Returns:
            The object id, 64 hexadecimal digits.

        Raises:
            FileNotFoundError: If there is no such file.
            StoreError: If it cannot be stored, or changed on the way.
        """
        return self.objects.put_whole(source).object_id

    def put_object_bytes(self, data: bytes) -> str:
        """Store bytes under their SHA-256; equal content is stored once.

        Returns:
            The object id, 64 hexadecimal digits.

        Raises:
            StoreError: If they cannot be stored.
        """
        return self.objects.put_bytes(data).object_id

    def is_condemned_since(self, stored: StoredObject) -> bool:
        """Whether something stored may be deleted, or is gone, so that it has to be stored again.

        To be asked after the row that names it is in the lake, see docs/format.md.

        Args:
            stored: What ``put_artifact`` returned.

        Raises:
            StoreError: If the storage cannot say.
        """
        return self.objects.is_condemned_since(stored)

    def get_object(self, object_id: str, recipe: str | None = None) -> bytes:
        """The content of an object, verified.

        Args:
            object_id: Its id.
            recipe: What its row says of its recipe.

        Raises:
            FileNotFoundError: If it, or a chunk of it, is not there.
            StoreError: If its content does not have its hash.
        """
        return self.objects.get(object_id, recipe)

    def open_object(self, object_id: str, recipe: str | None = None) -> BinaryIO:
        """An object as a file that can be read anywhere, each chunk verified when it is read.

        Args:
            object_id: Its id.
            recipe: What its row says of its recipe.

        Raises:
            FileNotFoundError: If it is not there; of chunks this is said when they are read.
            StoreError: If it is damaged; of chunks this is said when they are read.
        """
        return self.objects.open(object_id, recipe)

    def copy_object(
        self, object_id: str, recipe: str | None, target: Path, *, tell: Callable[[int], None] | None = None
    ) -> None:
        """Write an object into a local file, which is there when all of it is verified.

        Args:
            object_id: Its id.
            recipe: What its row says of its recipe.
            target: Where to; a file of that name is replaced.
            tell: Told the number of bytes of each portion that was written.

        Raises:
            FileNotFoundError: If it, or a chunk of it, is not there.
            StoreError: If it is damaged.
            OSError: If the target cannot be written.
        """
        self.objects.copy(object_id, recipe, target, tell or (lambda _: None))

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


def _marker_bytes(marker: Mapping[str, Any]) -> bytes:
    return (json.dumps(marker, indent=2) + "\n").encode()


def _is_torn(found: bytes) -> bool:
    """Whether it is the beginning of a marker: what a write that broke left, in a store where that can be seen."""
    head = b'{\n  "format": "lightning-lde"'
    if not (found.startswith(head) or head.startswith(found)):
        return False
    try:
        json.loads(found)
    except ValueError:
        return True
    return False


def _encode(target: IO[bytes], table: str, groups: Iterable[pa.Table]) -> None:
    try:
        write_parquet(target, table, groups)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise RowsError(f"rows of {table} cannot be written: {type(error).__name__}: {error}") from error
