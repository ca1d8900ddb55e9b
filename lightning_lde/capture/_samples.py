"""One short hash for each sample, so that two versions of a data set can be told apart sample by sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_lde.schema import MOST_SAMPLES

_MOST_CLASSES = 10_000
_LARGEST_PLAIN_LABEL = 1_000_000
_BLOCK_BYTES = 2**20
_WORD_BYTES = 8
_FILLS = [bytes(n) for n in range(_WORD_BYTES)]
# The constants of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
_GAMMA = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


@dataclass(frozen=True)
class Samples:
    """The samples of a data set, in its order.

    Attributes:
        hashes: What each holds: uint64 of shape (n,).
        paths: Where each comes from, below the data set's root; None where it is known by its place alone.
        labels: The class of each as its position in ``classes``: int32 of shape (n,); None where it is not known.
        classes: The classes that occur.
    """

    hashes: Any
    paths: list[str] | None = None
    labels: Any = None
    classes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.hashes)

    def taken(self, rows: Any) -> Samples:
        """Some of the samples.

        Args:
            rows: Their positions, int64 of shape (k,).
        """
        paths = None if self.paths is None else [self.paths[row] for row in rows.tolist()]
        labels = None if self.labels is None else self.labels[rows]
        return Samples(self.hashes[rows], paths, labels, self.classes)


def hash_rows(rows: Any) -> Any:
    """A hash of each row of fixed width: SplitMix64's mixing of each word and its place, summed.

    A call of hashlib for each short row would take ten times as long, with the interpreter's lock in its hand. A sum
    of mixed words is AdHash (Bellare, Micciancio, "A new paradigm for collision-free hashing", 1997); with 64 bits it
    tells samples apart that were not made to be mistaken for each other.

    Args:
        rows: Bytes: uint8 of shape (n, width).

    Returns:
        uint64 of shape (n,).

    Example:
        >>> import numpy as np
        >>> [hex(one) for one in hash_rows(np.array([[1, 2, 3], [1, 2, 4]], np.uint8)).tolist()]
        ['0xa5112528aa368d5f', '0x4efdc635666e9ff']
    """
    import numpy as np

    n, width = rows.shape
    n_words = -(-width // _WORD_BYTES)
    places = np.arange(1, n_words + 1, dtype=np.uint64) * np.uint64(_GAMMA)
    hashes = np.empty(n, np.uint64)
    start = _mixed(np.array([width], np.uint64))
    at_once = max(1, _BLOCK_BYTES // max(1, n_words * _WORD_BYTES))
    for first in range(0, n, at_once):
        block = np.ascontiguousarray(rows[first : first + at_once])
        if width % _WORD_BYTES:
            padded = np.zeros((len(block), n_words * _WORD_BYTES), np.uint8)
            padded[:, :width] = block
            block = padded
        words = block.view("<u8").astype(np.uint64, copy=False) + places
        hashes[first : first + at_once] = _mixed(words).sum(axis=1, dtype=np.uint64) + start
    return hashes


def hash_values(values: Sequence[bytes]) -> Any:
    """The hash that `hash_rows` gives to each of some values, whatever their sizes.

    Args:
        values: Bytes of n values.

    Returns:
        uint64 of shape (n,).

    Example:
        >>> [hex(one) for one in hash_values([bytes([1, 2, 3]), b""]).tolist()]
        ['0xa5112528aa368d5f', '0x0']
    """
    import numpy as np

    widths = np.fromiter(map(len, values), np.uint64, len(values))
    ends = np.cumsum(-(-widths.astype(np.int64) // _WORD_BYTES))
    hashes = _mixed(widths.copy())
    first = 0
    while first < len(values):
        begin = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begin + _BLOCK_BYTES // _WORD_BYTES)))
        filled = b"".join([value + _FILLS[-len(value) % _WORD_BYTES] for value in values[first:last]])
        words = np.frombuffer(filled, "<u8").astype(np.uint64)
        stops = ends[first:last] - begin
        starts = np.concatenate([[0], stops[:-1]])
        places = np.arange(1, len(words) + 1, dtype=np.uint64) - np.repeat(starts, stops - starts).astype(np.uint64)
        words += places * np.uint64(_GAMMA)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(words), dtype=np.uint64)])
        hashes[first:last] += sums[stops] - sums[starts]
        first = last
    return hashes


def _mixed(words: Any) -> Any:
    """SplitMix64's output function of each word, in place."""
    import numpy as np

    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
        words ^= words >> np.uint64(shift)
        if factor != 1:
            words *= np.uint64(factor)
    return words


def blank(n: int) -> Any:
    """Room for the hashes of n samples: uint64 of shape (n,)."""
    import numpy as np

    return np.zeros(n, np.uint64)


def hash_bytes(data: bytes | memoryview) -> int:
    """The hash of a sample whose size is its own: the first 8 bytes of its SHA-256, little-endian."""
    return hash_of(hashlib.sha256(data))


def hash_of(digest: Any) -> int:
    """The hash of a sample that a SHA-256 has read."""
    return int.from_bytes(digest.digest()[:_WORD_BYTES], "little")


def joined(columns: Sequence[Any]) -> Any:
    """One hash for each sample from those of its parts, in the order of the parts; that of the only one as it is.

    Args:
        columns: At least one array, each uint64 of shape (n,).
    """
    import numpy as np

    if len(columns) == 1:
        return columns[0]
    hashes = np.empty(len(columns[0]), np.uint64)
    at_once = max(1, _BLOCK_BYTES // (len(columns) * _WORD_BYTES))
    for first in range(0, len(hashes), at_once):
        rows = np.stack([column[first : first + at_once] for column in columns], axis=1)
        hashes[first : first + at_once] = hash_rows(rows.astype("<u8", copy=False).view(np.uint8))
    return hashes


def coded(labels: object) -> tuple[Any, list[str]] | None:
    """Labels as positions in the list of those that occur, None where they are no list of at most 10,000 classes.

    Args:
        labels: Whole numbers of shape (n,), a tensor or an array; or a list of whole numbers or of texts.

    Example:
        >>> codes, classes = coded([7, 3, 7])
        >>> codes.tolist(), classes
        ([1, 0, 1], ['3', '7'])
    """
    import numpy as np

    if isinstance(labels, (list, tuple)) and labels and all(type(label) is str for label in labels):
        numbers = {label: number for number, label in enumerate(sorted(set(labels)))}
        if len(numbers) > _MOST_CLASSES:
            return None
        return np.array([numbers[label] for label in labels], np.int32), list(numbers)
    values = np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)
    if values.ndim != 1 or values.dtype.kind not in "iu" or not len(values):
        return None
    if values.min() >= 0 and values.max() <= _LARGEST_PLAIN_LABEL:
        classes = np.flatnonzero(np.bincount(values.astype(np.int64, copy=False)))
        place = np.zeros(int(classes[-1]) + 1, np.int32)
        place[classes] = np.arange(len(classes))
        codes = place[values]
    else:
        classes, codes = np.unique(values, return_inverse=True)
    if len(classes) > _MOST_CLASSES:
        return None
    return codes.astype(np.int32, copy=False), [str(one) for one in classes.tolist()]


def labelled(samples: Samples | None, labels: object) -> Samples | None:
    """The same samples with their labels, where there is one for each."""
    found = None if samples is None or labels is None else _attempt(labels)
    if samples is None or found is None or len(found[0]) != len(samples):
        return samples
    return Samples(samples.hashes, samples.paths, *found)


def _attempt(labels: object) -> tuple[Any, list[str]] | None:
    try:
        return coded(labels)
    except Exception:
        return None


def combined(columns: Sequence[Samples]) -> Samples | None:
    """Samples of which several attributes, or stacked data sets, hold a part each; paths and labels are the first.

    Args:
        columns: Equally long ones.
    """
    if not columns:
        return None
    paths = next((one.paths for one in columns if one.paths is not None), None)
    labels, classes = next(((one.labels, one.classes) for one in columns if one.labels is not None), (None, []))
    return Samples(joined([one.hashes for one in columns]), paths, labels, classes)


def chained(parts: Sequence[Samples]) -> Samples | None:
    """The samples of one data set after those of another; the number of the part stands before a path.

    Args:
        parts: Those of each data set.
    """
    import numpy as np

    if not parts or sum(map(len, parts)) > MOST_SAMPLES:
        return None
    paths = None
    if all(part.paths is not None for part in parts):
        paths = [f"{number}/{path}" for number, part in enumerate(parts) for path in part.paths or ()]
    hashes = np.concatenate([part.hashes for part in parts])
    if any(part.labels is None for part in parts):
        return Samples(hashes, paths)
    classes = sorted({name for part in parts for name in part.classes})
    place = {name: number for number, name in enumerate(classes)}
    tables = [np.array([place[name] for name in part.classes], np.int32) for part in parts]
    labels = np.concatenate([table[part.labels] for table, part in zip(tables, parts, strict=True)])
    return Samples(hashes, paths, labels, classes)
