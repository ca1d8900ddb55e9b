"""Looks at everything in a lake: each file, each name of another one, and where asked for each byte."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from lightning_lde.errors import LakeNotFoundError, LakeURLError
from lightning_lde.lake import _layout
from lightning_lde.lake.check._cold import cold_findings
from lightning_lde.lake.check._contents import Contents
from lightning_lde.lake.check._delta_logs import DeltaLogs
from lightning_lde.lake.check._findings import CheckReport, Finding, Found, Kind, Severity
from lightning_lde.lake.check._hot import hot_findings
from lightning_lde.lake.check._leftovers import condemned_findings, temporary_findings
from lightning_lde.lake.check._manifests import ManifestMending
from lightning_lde.lake.check._mending import Mending
from lightning_lde.lake.check._moments import is_older
from lightning_lde.lake.check._object_contents import content_findings
from lightning_lde.lake.check._objects import Objects
from lightning_lde.lake.check._references import References
from lightning_lde.lake.check._rows import YOUNG, FileFacts
from lightning_lde.lake.check._tables import Tables, Tell
from lightning_lde.lake.objects import Places
from lightning_lde.lake.stores import Store
from lightning_lde.lake.tiers import TierLook
from lightning_lde.schema import FORMAT_VERSION, utc_now


class Check:
    """One check of a lake.

    Args:
        store: Where the lake is.
        options: The storage options.
        deep: Whether contents are read: all pages of all files, all bytes of all objects.
        tell: Told how far it is.
        tiers: Knows what lies elsewhere.
    """

    def __init__(
        self, store: Store, options: Mapping[str, Any], *, deep: bool, tell: Tell, tiers: TierLook | None = None
    ) -> None:
        self._store = store
        self._deep = deep
        self._tell = tell
        self._mending = Mending(store)
        self._tiers = tiers
        if tiers is None:
            self._objects = Objects(Places(store), self._mending, tuple)
        else:
            self._objects = Objects(Places(store), self._mending, tiers.cold, tiers.is_elsewhere)
        self._logs = DeltaLogs(store, options, self._mending)

    def run(self, *, repair: bool) -> CheckReport:
        """Look, and where asked for repair.

        Args:
            repair: Whether to do about each finding what can be done without losing anything.

        Raises:
            LakeNotFoundError: If there is nothing of a lake.
            LakeURLError: If the lake has a newer format.
            StoreError: If the storage fails.
        """
        began = time.monotonic()
        report = CheckReport(self._store.absolute_url, is_deep=self._deep)
        found = [*self._marker(), *self._all(report)]
        if repair:
            found = [_repaired(each) for each in found]
        report.findings = sorted((each.finding for each in found), key=lambda finding: finding.rank)
        report.seconds = time.monotonic() - began
        return report

    def _marker(self) -> Iterator[Found]:
        try:
            version, said = _read_marker(self._store.get(_layout.MARKER))
        except FileNotFoundError as error:
            self._store.check_root()
            if not any(True for folder in ("hot/", "cold/") for _ in self._store.list(folder)):
                raise LakeNotFoundError(
                    f"no lake at {self._store.url}: make one with `lde init {self._store.url}`"
                ) from error
            version, said = 0, "it is not there, and nobody takes this for a lake"
        if version > FORMAT_VERSION:
            raise LakeURLError(
                f"the lake at {self._store.url} has format {version}, this version reads up to {FORMAT_VERSION}: "
                "upgrade lightning-lde"
            )
        if said:
            cure = "restore it from a backup; `lde init` makes a new one, with a policy and a salt of its own"
            yield Found(Finding(Severity.ERROR, Kind.MARKER, _layout.MARKER, f"{said}; {cure}"))

    def _all(self, report: CheckReport) -> Iterator[Found]:
        now = utc_now()
        tables = Tables(self._store, deep=self._deep, tell=self._tell)
        tables.look()
        self._objects.look()
        facts = list(tables.facts())
        references = References(facts, now, tables.contents.is_erased)
        if self._objects.missing(facts) or any(True for _ in references.findings()):
            # What a row names may have come or gone since the listing: only what is missing twice is missing.
            tables.look_again()
            self._objects.look()
            facts = list(tables.facts())
            references = References(facts, now, tables.contents.is_erased)
        contents = tables.contents
        self._count(report, facts)
        by_path = dict(facts)
        manifests = ManifestMending(self._store)
        yield from hot_findings(contents, by_path, self._mending, now)
        yield from cold_findings(contents, by_path, self._mending, manifests, now)
        if not contents.damaged:
            # Without the newest manifest half of the rows is not known.
            yield from map(Found, references.findings())
        yield from self._of_objects(facts, partial(_is_busy, references, contents, now))
        yield from self._logs.findings(contents)
        if said := self._logs.skipped(contents):
            report.skipped.append(said)
        report.skipped += self._tiers.problems if self._tiers is not None else []
        listed = [*contents.hot.values(), *contents.cold.values(), *self._objects.stored.values()]
        yield from temporary_findings(self._store, listed, self._mending, now)
        yield from condemned_findings(self._store, now)

    def _of_objects(self, facts: list[tuple[str, FileFacts]], is_busy: Callable[[str], bool]) -> Iterator[Found]:
        found = list(self._objects.findings(facts, is_busy))
        yield from found
        if self._deep:
            known = {each.finding.path for each in found}
            yield from content_findings(self._store, self._objects, self._mending, known, self._tell)

    def _count(self, report: CheckReport, facts: list[tuple[str, FileFacts]]) -> None:
        report.files = len(facts)
        report.rows = sum(known.rows for _, known in facts)
        report.objects = len(self._objects.stored)
        report.bytes = sum(known.size_bytes for _, known in facts)
        report.archived = len(self._objects.elsewhere)
        report.bytes += sum(stored.size_bytes for stored in self._objects.stored.values())


def _read_marker(data: bytes) -> tuple[int, str]:
    """The version that a marker tells, and what is wrong with it."""
    try:
        content = json.loads(data)
        version, name = int(content["format_version"]), content["format"]
    except (ValueError, KeyError, TypeError) as error:
        return 0, f"it cannot be understood: {type(error).__name__}: {error}"
    if name != "lightning-lde":
        return 0, f"its format is {name!r}, expected 'lightning-lde'"
    if not isinstance(content.get("policy", {}), dict):
        return version, "its policy is no object: as little as possible is recorded"
    return version, ""


def _is_busy(references: References, contents: Contents, now: datetime, path: str) -> bool:
    """Whether who wrote a file of rows may still be storing what it names."""
    return references.is_open(path) and not is_older(contents.hot[path], YOUNG, now)


def _repaired(found: Found) -> Found:
    if found.apply is None or not found.apply():
        return found
    return Found(dataclasses.replace(found.finding, is_repaired=True))


def check(
    store: Store,
    options: Mapping[str, Any],
    *,
    deep: bool = False,
    repair: bool = False,
    tell: Tell | None = None,
    tiers: TierLook | None = None,
) -> CheckReport:
    """Look at everything in a lake, see docs/check.md.

    Args:
        store: Where the lake is.
        options: The storage options.
        deep: Whether contents are read: all pages of all files, all bytes of all objects.
        repair: Whether to do about each finding what can be done without losing anything.
        tell: Told what is looked at, how many are done, and of how many.
        tiers: Knows what lies in cold roots; without it all has to be in the store.

    Raises:
        LakeNotFoundError: If there is nothing of a lake.
        LakeURLError: If the lake has a newer format.
        StoreError: If the storage fails.
    """
    return Check(store, options, deep=deep, tell=tell or _say_nothing, tiers=tiers).run(repair=repair)


def _say_nothing(_what: str, _done: int, _total: int) -> None:
    """Nobody wants to know."""
