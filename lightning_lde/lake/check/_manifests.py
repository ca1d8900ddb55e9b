"""Repairs of manifests and of lists of absorbed files, where it can be proven that nothing is lost by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lightning_lde.lake.check._contents import Contents, ListError, Looker, read_list
from lightning_lde.lake.cold._absorbed import LISTS, write_list
from lightning_lde.lake.cold._erased import TOMBSTONES
from lightning_lde.lake.cold._lock import held
from lightning_lde.lake.cold._manifest import COLD, MANIFESTS, Absorbed
from lightning_lde.lake.cold._vacuum import named_by
from lightning_lde.lake.stores import Store
from lightning_lde.schema import new_run_id, utc_now


class ManifestMending:
    """Repairs of one lake's manifests.

    Args:
        store: Where the lake is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def hindrance(self, contents: Contents) -> str:
        """Why the newest manifest that can be read cannot stand for newer ones that cannot; empty where it can.

        What the newer ones brought into the cold tables must lie in the hot tier still: hot files that they absorbed
        are deleted some minutes later. Which ones they absorbed is said by lists that no readable manifest names.

        Args:
            contents: What lies there.
        """
        if any(contents.cold.get(one.path) is None for one in contents.cold_files):
            return "files that it names are gone"
        if any(contents.cold[one.path].size_bytes != one.size_bytes for one in contents.cold_files):
            return "files that it names have another size"
        if any(isinstance(rows, ListError) for rows in contents.lists.values()):
            return "lists of absorbed files that it names cannot be read"
        named = {path for manifest in contents.manifests.values() for path in named_by(manifest)}
        files = [path for path in contents.cold if path not in named and _is_data(path)]
        if any(path.startswith(TOMBSTONES) for path in files):
            return "records were erased since"
        lists = [path for path in files if path.startswith(LISTS)]
        if len(lists) < len(files) and not lists:
            return "there are newer cold files, and no list says which hot files went into them"
        try:
            gone = self.unaccounted(contents, lists)
        except ListError as error:
            return f"a newer list of absorbed files cannot be read ({error})"
        return f"{gone:,} hot files whose rows were brought in later are deleted" if gone else ""

    def unaccounted(self, contents: Contents, lists: Sequence[str]) -> int:
        """How many files of some lists are neither in the hot tier nor in a list that the manifest names.

        Args:
            contents: What lies there.
            lists: The lists' paths.

        Raises:
            ListError: If one cannot be read.
        """
        files: set[str] = set()
        for path in lists:
            try:
                files.update(read_list(self._store, path).column("path").to_pylist())
            except FileNotFoundError:
                continue
        files -= set(contents.hot)
        if not files:
            return 0
        for rows in contents.lists.values():
            if not isinstance(rows, ListError):
                files.difference_update(rows.column("path").to_pylist())
        return len(files)

    def restore(self) -> bool:
        """Make a manifest that says what the newest one does that can be read; it gets the next number."""
        with held(self._store) as lock:
            if lock is None:
                return False
            # What lies there may have changed since it was looked at.
            contents = Looker(self._store).look()
            if contents.newest_number not in contents.damaged:
                return True
            if self.hindrance(contents):
                return False
            following = replace(
                contents.manifest, number=contents.newest_number + 1, created_at=utc_now(), writer=new_run_id()
            )
            return self._store.create(following.path, following.to_bytes())

    def parts_of(self, contents: Contents, one: Absorbed) -> list[Absorbed]:
        """The lists that a merged one was made from, where they are there still; none where that is not known.

        Args:
            contents: What lies there.
            one: The merged list.
        """
        still_named = {each.path for each in contents.manifest.absorbed}
        for number in sorted(contents.manifests, reverse=True):
            older = contents.manifests[number]
            if any(each.path == one.path for each in older.absorbed):
                continue
            parts = [each for each in older.absorbed if each.path not in still_named]
            return parts if self._make_up(parts, one) else []
        return []

    def _make_up(self, parts: list[Absorbed], one: Absorbed) -> bool:
        if not parts or sum(each.files for each in parts) != one.files:
            return False
        if (min(each.first for each in parts), max(each.last for each in parts)) != (one.first, one.last):
            return False
        try:
            return all(read_list(self._store, each.path).num_rows == each.files for each in parts)
        except (ListError, FileNotFoundError):
            return False

    def remake(self, one: Absorbed, parts: list[Absorbed]) -> bool:
        """Write a list again, from those that it was made from, under its name.

        Args:
            one: The list.
            parts: Those.
        """
        import pyarrow as pa

        whole = pa.concat_tables([read_list(self._store, each.path) for each in parts])
        rows = whole.sort_by([(name, "ascending") for name in ("writer", "table", "first", "last")])
        write_list(self._store, one.path, rows)
        return True


def _is_data(path: str) -> bool:
    folder, _, name = path.removeprefix(COLD).rpartition("/")
    return name.endswith(".parquet") and folder.count("/") == 0 and not path.startswith(MANIFESTS)
