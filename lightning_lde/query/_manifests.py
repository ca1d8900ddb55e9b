"""What became of the samples between two versions of a data set, by the manifests that were kept of them."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_lde.errors import StoreError
from lightning_lde.schema import MOST_SAMPLES

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.query._lake import Lake

_EXAMPLES = 5


@dataclass(frozen=True)
class SampleChanges:
    """What became of the samples of a data set.

    Files are known by their paths: one of the same path and other content, or another label, is changed. Rows have no
    names: they are compared as a collection, in which equal rows are counted.

    Attributes:
        known_by: ``"path"`` or ``"row"``.
        added: How many are new.
        removed: How many are gone.
        changed: Of files, those with other content or label; 0 for rows.
        renamed: Of the files that are gone, those whose content is new under another path.
        replaced: Of rows that are gone, those in whose place a new one stands, where all others stayed in theirs.
        kept: How many are in both, as they were.
        in_order: Whether those that are in both stand in the same order.
        labels_added: How many are new of each class; of changed files the new label. Empty where labels are not known.
        labels_removed: How many are gone of each class; of changed files the old label.
        examples_added: The first of them: paths, or rows in the new version, counted from zero.
        examples_removed: The first that are gone: paths, or rows in the old version.
        examples_changed: The first that changed.
    """

    known_by: str
    added: int
    removed: int
    changed: int
    renamed: int
    replaced: int
    kept: int
    in_order: bool
    labels_added: dict[str, int] = field(default_factory=dict)
    labels_removed: dict[str, int] = field(default_factory=dict)
    examples_added: tuple[str | int, ...] = ()
    examples_removed: tuple[str | int, ...] = ()
    examples_changed: tuple[str | int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The changes as names and values."""
        return asdict(self)


class Matched(NamedTuple):
    """Which of two lists of keys belong together; equal keys are matched one to one, in their order.

    Attributes:
        removed: Positions in the old list of those without a partner, int64 ascending.
        added: Positions in the new list of those without one.
        old: Positions in the old list of those with a partner, ascending.
        new: The positions of their partners in the new list.
    """

    removed: Any
    added: Any
    old: Any
    new: Any


class Manifests:
    """Reads manifests of a lake, the last ones kept in memory.

    Args:
        lake: The lake.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._read: dict[str, pa.Table] = {}

    def compare(self, before: dict[str, Any], after: dict[str, Any]) -> SampleChanges | str:
        """What became of the samples, or why it is not known.

        Args:
            before: The columns of the older data set.
            after: Those of the newer one.
        """
        missing = {
            word: _why(facts)
            for word, facts in (("the version before", before), ("this version", after))
            if not facts.get("manifest_object")
        }
        if len(missing) == 2 and len(set(missing.values())) == 1:
            return f"both versions: {missing['this version']}"
        if missing:
            return "; ".join(f"{word}: {why}" for word, why in missing.items())
        try:
            old, new = (self._table(str(facts["manifest_object"])) for facts in (before, after))
        except FileNotFoundError:
            return "a manifest is not in the lake any more"
        except StoreError as error:
            return str(error)
        if ("path" in old.column_names) != ("path" in new.column_names):
            return "the samples of one version are files and those of the other are rows"
        return compare_samples(old, new)

    def _table(self, object_id: str) -> pa.Table:
        import pyarrow.parquet as pq

        if object_id not in self._read:
            while len(self._read) > 1:
                del self._read[next(iter(self._read))]
            self._read[object_id] = pq.read_table(io.BytesIO(self._lake.storage.get_object(object_id)))
        return self._read[object_id]


def compare_samples(old: pa.Table, new: pa.Table) -> SampleChanges:
    """What became of the samples of one manifest in another one.

    Args:
        old: The manifest of the older version: ``hash``, ``path`` where its samples are files, ``label``.
        new: That of the newer one, with the same column for paths.

    Example:
        >>> import pyarrow as pa
        >>> old, new = (pa.table({"hash": pa.array(rows, pa.uint64())}) for rows in ([1, 2, 2, 3], [2, 1, 4]))
        >>> found = compare_samples(old, new)
        >>> found.added, found.removed, found.kept, found.in_order, found.examples_removed
        (1, 2, 2, False, (2, 3))
    """
    by_path = "path" in old.column_names
    hashes = [table.column("hash").to_numpy() for table in (old, new)]
    matched = match(*(_path_keys(old, new) if by_path else hashes))
    changed = matched.old[:0], matched.new[:0]
    if by_path:
        is_changed = _changed(old, new, hashes, matched)
        changed = matched.old[is_changed], matched.new[is_changed]
    return SampleChanges(
        known_by="path" if by_path else "row",
        added=len(matched.added),
        removed=len(matched.removed),
        changed=len(changed[0]),
        renamed=_renamed(hashes, matched) if by_path else 0,
        replaced=0 if by_path else _replaced(hashes, matched),
        kept=len(matched.old) - len(changed[0]),
        in_order=_in_order(hashes, matched, by_path=by_path),
        labels_added=_labels(new, [matched.added, changed[1]]),
        labels_removed=_labels(old, [matched.removed, changed[0]]),
        examples_added=_examples(new, matched.added),
        examples_removed=_examples(old, matched.removed),
        examples_changed=_examples(new, changed[1]),
    )


def match(old: Any, new: Any) -> Matched:
    """Match equal keys of two lists one to one: of more in one list than in the other, the last are without partner.

    Args:
        old: Numbers of shape (n,).
        new: Numbers of shape (m,).
    """
    import numpy as np

    old_order, new_order = (np.argsort(keys, kind="stable") for keys in (old, new))
    old_sorted, new_sorted = old[old_order], new[new_order]
    has_partner = [
        _number_among_equals(mine) < _count(theirs, mine)
        for mine, theirs in ((old_sorted, new_sorted), (new_sorted, old_sorted))
    ]
    partners, of_new = old_order[has_partner[0]], new_order[has_partner[1]]
    ascending = np.argsort(partners, kind="stable")
    return Matched(
        np.sort(old_order[~has_partner[0]]), np.sort(new_order[~has_partner[1]]), partners[ascending], of_new[ascending]
    )


def _number_among_equals(keys: Any) -> Any:
    """Of each of sorted keys, how many equal ones stand before it."""
    import numpy as np

    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, len(keys)))
    return np.arange(len(keys)) - np.repeat(starts, lengths)


def _count(keys: Any, wanted: Any) -> Any:
    import numpy as np

    return np.searchsorted(keys, wanted, side="right") - np.searchsorted(keys, wanted, side="left")


def _path_keys(old: pa.Table, new: pa.Table) -> tuple[Any, Any]:
    """Paths of both as numbers."""
    import pyarrow as pa

    both = pa.chunked_array([*old.column("path").chunks, *new.column("path").chunks], pa.string())
    codes = both.combine_chunks().dictionary_encode().indices.to_numpy()
    return codes[: len(old)], codes[len(old) :]


def _changed(old: pa.Table, new: pa.Table, hashes: list[Any], matched: Matched) -> Any:
    """Which of the files with a partner have other content or another label."""
    import numpy as np
    import pyarrow.compute as pc

    other = hashes[0][matched.old] != hashes[1][matched.new]
    if "label" in old.column_names and "label" in new.column_names:
        labels = [table.column("label").take(rows) for table, rows in ((old, matched.old), (new, matched.new))]
        other |= pc.fill_null(pc.not_equal(*labels), False).to_numpy().astype(np.bool_)
    return other


def _renamed(hashes: list[Any], matched: Matched) -> int:
    return len(match(hashes[0][matched.removed], hashes[1][matched.added]).old)


def _replaced(hashes: list[Any], matched: Matched) -> int:
    """How many rows differ in place, where no row moved."""
    import numpy as np

    if len(hashes[0]) != len(hashes[1]):
        return 0
    differing = int(np.count_nonzero(hashes[0] != hashes[1]))
    return differing if differing == len(matched.removed) else 0


def _in_order(hashes: list[Any], matched: Matched, *, by_path: bool) -> bool:
    """Whether what both have stands in the same order; of equal rows it does not matter which are gone."""
    import numpy as np

    if by_path or bool(np.all(matched.new[1:] > matched.new[:-1])):
        return bool(np.all(matched.new[1:] > matched.new[:-1]))
    backwards = match(hashes[0][::-1], hashes[1][::-1])
    return bool(np.all(backwards.new[1:] > backwards.new[:-1]))


def _labels(table: pa.Table, rows: list[Any]) -> dict[str, int]:
    import numpy as np

    if "label" not in table.column_names:
        return {}
    counts = table.column("label").take(np.concatenate(rows)).value_counts().to_pylist()
    found = {one["values"]: one["counts"] for one in counts if one["values"] is not None}
    return dict(sorted(found.items(), key=lambda one: (not one[0].isdigit(), len(one[0]) * one[0].isdigit(), one[0])))


def _examples(table: pa.Table, rows: Any) -> tuple[str | int, ...]:
    few = rows[:_EXAMPLES]
    return tuple(table.column("path").take(few).to_pylist() if "path" in table.column_names else few.tolist())


def _why(facts: dict[str, Any]) -> str:
    """Why there is no manifest of a data set."""
    if (facts.get("n_samples") or 0) > MOST_SAMPLES:
        return f"it has more than {MOST_SAMPLES // 10**6} million samples"
    if facts.get("fingerprint_method") in {"structure", "unknown", None}:
        return "the content was not read"
    return "no manifest of the samples was kept"
