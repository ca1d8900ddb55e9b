"""Tensors and arrays as bytes for a hash: the same content gives the same bytes on every device."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from lightning_lde.capture._pace import Pace
from lightning_lde.capture._samples import hash_rows, joined
from lightning_lde.schema import MOST_SAMPLES, canonical_json

MAX_BYTES = 64 * 2**20
"""Content up to this many bytes is hashed whole."""

_SAMPLE_BYTES = 16 * 2**20
_MAX_SAMPLED_ROWS = 4096
_PIECE_BYTES = 4 * 2**20
_ROWS_AT_ONCE = 32
_LIST_ITEMS = 16_384
_MAX_LABELS = 50_000_000
_MAX_CLASSES = 10_000


class ArraysFingerprint(NamedTuple):
    """What is known of arrays: a hash, how it was made, and a hash of each row where it was asked for."""

    fingerprint: str
    method: str
    hashes: Any = None


def is_array(value: object) -> bool:
    """Whether a value is a tensor or a numpy array of numbers."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        return True
    return numpy is not None and isinstance(value, numpy.ndarray) and not value.dtype.hasobject


def dtype_name(value: Any) -> str:
    """The name of the element type, the same for tensors and arrays: ``float32``."""
    return str(value.dtype).removeprefix("torch.")


def size_bytes(value: Any) -> int:
    """Bytes of all elements."""
    return int(value.nbytes)


def raw_bytes(value: Any, rows: Any = None) -> memoryview:
    """The elements' bytes in row-major order, of all rows or of those given.

    Args:
        value: A dense tensor or array, of any shape, type and device.
        rows: Indices into the first dimension, None for everything.

    Raises:
        RuntimeError: If a tensor has no bytes, as on the meta device; other errors of torch pass too.
    """
    import numpy as np

    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        part: Any = np.ascontiguousarray(value if rows is None else value[rows])
        return memoryview(part.reshape(-1).view(np.uint8))
    tensor = value.detach()
    if rows is not None:
        tensor = tensor[torch.as_tensor(rows, device=tensor.device)]
    tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return memoryview(tensor.view(torch.uint8).numpy())


def fingerprint(arrays: list[Any], pace: Pace | None = None) -> ArraysFingerprint:
    """A hash over shapes, types and bytes of arrays with equal first dimension, and how it was made.

    Up to 64 MiB every byte counts, with an exact pace always; above, at most 4,096 evenly spaced rows with at most
    16 MiB, the first and the last among them.

    Args:
        arrays: Tensors or arrays, each of shape (n, ...).
        pace: How to go on.

    Returns:
        32 hexadecimal digits, the method in words, and hashes of the rows, uint64 of shape (n,), where the pace asks
        for them and all arrays have as many rows.

    Raises:
        HurriedError: If the pace says so.
        RuntimeError: If a tensor has no bytes; other errors of torch and numpy pass too.
    """
    pace = pace or Pace()
    total = sum(map(size_bytes, arrays))
    rows, method = None, "sha256 of content"
    if total > MAX_BYTES and not pace.exact:
        rows = spread(min(len(array) for array in arrays), total)
        method = f"sha256 of {len(rows)} evenly spaced rows"
    pace.expect(total if rows is None else sum(size_bytes(array) * len(rows) // len(array) for array in arrays))
    digest = hashlib.sha256()
    by_row = [_RowHashes(array) for array in arrays] if pace.by_sample and _have_equal_rows(arrays) else []
    for number, array in enumerate(arrays):
        digest.update(canonical_json([dtype_name(array), list(array.shape)]).encode())
        for piece in _pieces(array, rows):
            digest.update(piece)
            if by_row:
                by_row[number].take(piece)
            pace.read(len(piece))
    hashes = joined([each.hashes for each in by_row]) if by_row else None
    return ArraysFingerprint(digest.hexdigest()[:32], method, hashes)


class _RowHashes:
    """Hashes of an array's rows, taken from its bytes as they pass."""

    def __init__(self, array: Any) -> None:
        import numpy as np

        self.hashes = np.zeros(len(array), np.uint64)
        self._row_bytes = size_bytes(array) // max(1, len(array))
        self._at = 0

    def take(self, piece: memoryview) -> None:
        import numpy as np

        if self._row_bytes:
            found = hash_rows(np.frombuffer(piece, np.uint8).reshape(-1, self._row_bytes))
            self.hashes[self._at : self._at + len(found)] = found
            self._at += len(found)


def _have_equal_rows(arrays: list[Any]) -> bool:
    lengths = {len(array) if array.shape else None for array in arrays}
    n = lengths.pop() if len(lengths) == 1 else None
    return n is not None and n <= MOST_SAMPLES


def _pieces(array: Any, rows: Any) -> Iterator[memoryview]:
    """The bytes of an array, or of some of its rows, in pieces of at most some MiB."""
    if not array.shape:
        yield raw_bytes(array)
        return
    n_rows = len(array) if rows is None else len(rows)
    per_piece = max(1, _PIECE_BYTES * len(array) // max(1, size_bytes(array)))
    if rows is not None:
        # Each row may be a page that has to come from a disk.
        per_piece = min(per_piece, _ROWS_AT_ONCE)
    for first in range(0, n_rows, per_piece):
        last = min(first + per_piece, n_rows)
        yield raw_bytes(array[first:last]) if rows is None else raw_bytes(array, rows[first:last])


def spread(n_rows: int, total_bytes: int) -> Any:
    """Evenly spaced positions, as many as may be read: int64 of shape (k,), the first and the last among them.

    Args:
        n_rows: How many there are.
        total_bytes: Their size together.
    """
    import numpy as np

    affordable = _SAMPLE_BYTES * n_rows // max(1, total_bytes)
    count = max(2, min(n_rows, _MAX_SAMPLED_ROWS, affordable))
    return np.unique(np.arange(count, dtype=np.int64) * (n_rows - 1) // (count - 1))


def class_counts(labels: object) -> dict[str, int]:
    """How often each class occurs; empty where the labels are not a list of at most 10,000 classes.

    Args:
        labels: Integers of shape (n,): a tensor, an array or a list.
    """
    import numpy as np

    if isinstance(labels, (list, tuple)):
        values = np.asarray(labels)
    elif is_array(labels) and len(labels.shape) == 1:  # type: ignore[attr-defined]
        values = np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)
    else:
        return {}
    if values.ndim != 1 or values.dtype.kind not in "iu" or not 0 < len(values) <= _MAX_LABELS:
        return {}
    if values.min() < 0 or values.max() > 100 * _MAX_CLASSES:
        classes, counts = np.unique(values, return_counts=True)
    else:
        counts = np.bincount(values.astype(np.int64, copy=False))
        classes = np.flatnonzero(counts)
        counts = counts[classes]
    if len(classes) > _MAX_CLASSES:
        return {}
    return {str(label): int(count) for label, count in zip(classes.tolist(), counts.tolist(), strict=True)}


def indices_array(indices: object, pace: Pace | None = None) -> Any:
    """Indices as an int64 array of shape (n,), None if they are nothing of the kind.

    Raises:
        HurriedError: If the pace says so.
    """
    import numpy as np

    if is_array(indices):
        indices = indices.detach().cpu() if hasattr(indices, "detach") else indices
    elif not isinstance(indices, (list, tuple, range)):
        return None
    if isinstance(indices, (list, tuple)) and len(indices) > _LIST_ITEMS and pace is not None:
        parts = []
        for first in range(0, len(indices), _LIST_ITEMS):
            parts.append(np.asarray(indices[first : first + _LIST_ITEMS]))
            pace.breathe()
        values = np.concatenate(parts)
    else:
        values = np.asarray(indices)
    if values.ndim != 1 or (values.dtype.kind not in "iu" and len(values)):
        return None
    return values.astype(np.int64)
