"""What is wrong with manifests, lists of absorbed files and cold files, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from lightning_lde.lake.check._contents import Contents, ListError
from lightning_lde.lake.check._findings import Finding, Found, Kind, Severity
from lightning_lde.lake.check._manifests import ManifestMending
from lightning_lde.lake.check._mending import DAMAGED, Mending
from lightning_lde.lake.check._moments import OLD, made_at
from lightning_lde.lake.check._rows import FileFacts
from lightning_lde.lake.cold._absorbed import LISTS
from lightning_lde.lake.cold._erased import TOMBSTONES
from lightning_lde.lake.cold._manifest import COLD, MANIFESTS, Absorbed, manifest_path, parse_manifest_path
from lightning_lde.lake.cold._vacuum import named_by

_LOCK = f"{COLD}lock.json"


def cold_findings(
    contents: Contents, facts: dict[str, FileFacts], mending: Mending, manifests: ManifestMending, now: datetime
) -> Iterator[Found]:
    """Damaged and missing manifests, lists and files, and files that no manifest names.

    Args:
        contents: What lies there.
        facts: What is known of the files that count.
        mending: Repairs.
        manifests: Repairs of manifests and lists.
        now: The present.
    """
    yield from _of_manifests(contents, mending, manifests)
    for one in contents.manifest.absorbed:
        yield from _of_list(contents, one, manifests)
    if isinstance(contents.erased, ListError):
        words = f"the hashes of what was erased: {contents.erased}; nothing of the lake can be read; {_CURE}"
        is_there = contents.manifest.erased in contents.cold
        kind = Kind.UNREADABLE if is_there else Kind.MISSING
        yield Found(Finding(Severity.ERROR, kind, str(contents.manifest.erased), words))
    for file in contents.cold_files:
        stored = contents.cold.get(file.path)
        if stored is None:
            yield Found(
                Finding(Severity.ERROR, Kind.MISSING, file.path, f"the manifest names it, and it is not there; {_CURE}")
            )
            continue
        if stored.size_bytes != file.size_bytes:
            size = f"it has {stored.size_bytes:,} bytes, the manifest says {file.size_bytes:,}; {_CURE}"
            yield Found(Finding(Severity.ERROR, Kind.SIZE, file.path, size))
        known = facts.get(file.path)
        for problem in known.problems if known is not None else ():
            severity = Severity.WARNING if problem.kind == Kind.ORDER else Severity.ERROR
            yield Found(Finding(severity, problem.kind, file.path, f"{problem.message}; {_CURE}"))
    yield from _strays(contents, mending, manifests, now)


_CURE = "restore it from a backup or from the bucket's former versions"


def _of_manifests(contents: Contents, mending: Mending, manifests: ManifestMending) -> Iterator[Found]:
    newest = contents.newest_number
    for number, reason in sorted(contents.damaged.items()):
        path = manifest_path(number)
        if number < contents.manifest.number:
            said = Finding(
                Severity.WARNING, Kind.MANIFEST, path, f"it is damaged ({reason}); a newer one counts",
                f"moves it to {DAMAGED}",
            )  # fmt: skip
            yield Found(said, partial(mending.move_aside, path))
        elif number == newest:
            hindrance = manifests.hindrance(contents)
            words = f"the newest manifest is damaged ({reason}), and nothing of the lake can be read"
            if hindrance:
                words += f"; that of number {contents.manifest.number} cannot stand for it: {hindrance}"
                yield Found(Finding(Severity.ERROR, Kind.MANIFEST, path, words))
                continue
            said = Finding(
                Severity.ERROR, Kind.MANIFEST, path, words,
                f"makes the next one from number {contents.manifest.number}: all that came later lies in hot/ still",
            )  # fmt: skip
            yield Found(said, manifests.restore)
    numbers = {*contents.manifests, *contents.damaged}
    for number in range(min(numbers, default=0), newest):
        if number not in numbers:
            gap = "it is not there, and older and newer ones are; a newer one counts"
            yield Found(Finding(Severity.WARNING, Kind.MANIFEST, manifest_path(number), gap))


def _of_list(contents: Contents, one: Absorbed, manifests: ManifestMending) -> Iterator[Found]:
    rows = contents.lists[one.path]
    if isinstance(rows, ListError):
        severity = Severity.WARNING if one.is_deleted else Severity.ERROR
        means = "rows that are sent again would be seen twice" if one.is_deleted else "nothing of the lake can be read"
        is_there = one.path in contents.cold
        parts = manifests.parts_of(contents, one)
        damage = Finding(
            severity, Kind.UNREADABLE if is_there else Kind.MISSING, one.path,
            f"the list of absorbed files: {rows}; {means}" + ("" if parts else f"; {_CURE}"),
            "makes it again from those that it was made from" if parts else "",
        )  # fmt: skip
        yield Found(damage, partial(manifests.remake, one, parts) if parts else None)
        return
    if rows.num_rows != one.files:
        said = f"it lists {rows.num_rows} files, the manifest says {one.files}"
        yield Found(Finding(Severity.ERROR, Kind.ROWS, one.path, said))
    elif rows.num_rows:
        writers = rows.column("writer").to_pylist()
        if (min(writers), max(writers)) != (one.first, one.last):
            yield Found(
                Finding(Severity.ERROR, Kind.BOUNDS, one.path, "its writers are not those that the manifest says")
            )


def _strays(contents: Contents, mending: Mending, manifests: ManifestMending, now: datetime) -> Iterator[Found]:
    named = {path for manifest in contents.manifests.values() for path in named_by(manifest)}
    for path in sorted(contents.cold):
        if path in named or path == _LOCK or "/_delta_log/" in path or parse_manifest_path(path) is not None:
            continue
        folder, _, name = path.removeprefix(COLD).rpartition("/")
        made = made_at(path)
        if not name.endswith(".parquet") or "/" in folder or f"{COLD}{folder}/" == MANIFESTS or made is None:
            if not name.endswith(".tmp"):
                yield Found(
                    Finding(Severity.INFO, Kind.FOREIGN, path, "no file of a lake has such a name; nobody reads it")
                )
        elif contents.damaged:
            continue
        elif path.startswith(TOMBSTONES):
            if made <= now - OLD:
                words = "no manifest names these hashes of what was erased; newer ones have them"
                old = Finding(Severity.INFO, Kind.STRAY, path, words, f"moves it to {DAMAGED}")
                yield Found(old, partial(mending.move_aside, path))
        elif path.startswith(LISTS):
            yield from _stray_list(contents, path, manifests, mending, is_old=made <= now - OLD)
        elif made <= now - OLD:
            yield _stray(contents, path, folder, mending)


def _stray_list(
    contents: Contents, path: str, manifests: ManifestMending, mending: Mending, *, is_old: bool
) -> Iterator[Found]:
    if n := manifests.unaccounted(contents, [path]):
        said = (
            f"it says that the rows of {n:,} hot files, which are gone, are in the cold tables, and no manifest names "
            f"it: a manifest was lost; {_CURE}"
        )
        yield Found(Finding(Severity.ERROR, Kind.MANIFEST, path, said))
    elif is_old:
        said = "no manifest names this list of absorbed files; a job that died has left it"
        yield Found(Finding(Severity.INFO, Kind.STRAY, path, said, "removes it"), partial(mending.remove, path))


def _stray(contents: Contents, path: str, table: str, mending: Mending) -> Found:
    counted = [file.path for file in contents.current if file.table == table]
    counted += [file.path for file in contents.manifest.tables.get(table, ()) if file.path in contents.cold]
    said = "no manifest names it; a job that died, or an older version of the table, has left it"
    return Found(
        Finding(
            Severity.INFO, Kind.STRAY, path, said, "removes it, where each of its rows stands in a file that counts"
        ),
        partial(mending.remove_stray, path, table, counted),
    )
