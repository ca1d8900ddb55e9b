"""Tables as bytes for a hash: Arrow tables and data frames, whatever their chunks and offsets in memory."""

from __future__ import annotations

import hashlib
import sys
from typing import Any, NamedTuple

from lightning_lde.capture import _arrays
from lightning_lde.capture._pace import Pace
from lightning_lde.capture._samples import hash_rows, hash_values, joined
from lightning_lde.schema import MOST_SAMPLES, canonical_json

_WINDOW_ROWS = 256
_HASHED_BYTES = 4 * 2**20
_NULL = b"\0"
_FILE_FIELDS = {"bytes", "path"}


class TableFingerprint(NamedTuple):
    """What is known of a table: a hash, how it was made, its size, and a hash of each row where it was asked for."""

    fingerprint: str
    method: str
    size_bytes: int
    hashes: Any = None


def arrow_table(value: object) -> Any:
    """The Arrow table that a value is or holds in its field ``table``, None if it is nothing of the kind.

    Data frames of pandas and polars are converted only by `fingerprint_table`, rows by rows.
    """
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None:
        return None
    if isinstance(value, pyarrow.Table):
        return value
    inner = getattr(value, "table", None) if type(value).__module__.startswith("datasets.") else None
    return inner if isinstance(inner, pyarrow.Table) else None


def is_frame(value: object) -> bool:
    """Whether a value is a data frame of pandas or polars."""
    return type(value).__name__ == "DataFrame" and type(value).__module__.partition(".")[0] in {"pandas", "polars"}


def table_of_frame(value: Any, rows: Any = None) -> Any:
    """A data frame, or some of its rows, as an Arrow table.

    Args:
        value: A data frame of pandas or polars.
        rows: Positions of rows, None for all.
    """
    import pyarrow as pa

    if type(value).__module__.startswith("polars"):
        return (value if rows is None else value[rows.tolist()]).to_arrow()
    return pa.Table.from_pandas(value if rows is None else value.iloc[rows], preserve_index=False)


def fingerprint_table(value: Any, pace: Pace) -> TableFingerprint:
    """A hash over the columns' names and types and the values of all or of evenly spaced rows.

    Up to 64 MiB all rows count, with an exact pace always.

    Args:
        value: An Arrow table or a data frame.
        pace: How to go on.

    Returns:
        32 hexadecimal digits, the method in words, the size in bytes, and hashes of the rows, uint64 of shape (n,),
        where the pace asks for them.

    Raises:
        HurriedError: If the pace says so.
    """
    frame = is_frame(value)
    n_rows = len(value)
    total = _frame_bytes(value) if frame else int(value.nbytes)
    rows = None
    if not pace.exact and total > _arrays.MAX_BYTES:
        rows = _arrays.spread(n_rows, total)
    # A data frame's types are inferred from its values, so it is converted in one piece.
    table = table_of_frame(value, rows) if frame else value
    digest = hashlib.sha256(canonical_json([n_rows, _names_and_types(table)]).encode())
    chosen = rows if rows is not None and not frame else None
    windows: list[Any] = []
    # Many rows at once, so that the interpreter's lock changes hands seldom; whole windows, so that none is missed.
    hashed, at_once = 0, _WINDOW_ROWS * max(1, min(64, _HASHED_BYTES * n_rows // (max(1, total) * _WINDOW_ROWS)))
    by_row = pace.by_sample and 0 < n_rows <= MOST_SAMPLES and table.num_columns > 0
    n_read = len(table) if chosen is None else len(chosen)
    to_read = total * n_read // max(1, n_rows)
    pace.expect(to_read)
    for first in range(0, n_read, _WINDOW_ROWS):
        window = (
            table.slice(first, _WINDOW_ROWS) if chosen is None else table.take(chosen[first : first + _WINDOW_ROWS])
        )
        for column in window.combine_chunks().columns:
            for chunk in column.chunks:
                _update(digest, chunk)
        if by_row and first >= hashed:
            part = table.slice(first, at_once)
            windows.append(joined([_row_hashes(column.combine_chunks()) for column in part.columns]))
            hashed += len(part)
        pace.read(to_read * min(_WINDOW_ROWS, n_read - first) // n_read)
    method = "sha256 of rows" if rows is None else f"sha256 of {len(rows)} evenly spaced rows of a table"
    hashes = None
    if windows:
        import numpy as np

        hashes = np.concatenate(windows)
    return TableFingerprint(digest.hexdigest()[:32], method, total, hashes)


def _frame_bytes(value: Any) -> int:
    if type(value).__module__.startswith("polars"):
        return int(value.estimated_size())
    return int(value.memory_usage(index=False, deep=False).sum())


def _names_and_types(table: Any) -> list[list[str]]:
    return [[field.name, str(field.type).replace("large_", "")] for field in table.schema]


def _update(digest: Any, array: Any) -> None:
    """Nulls, then values in a form that does not depend on offsets, padding, or what lies below a null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if array.null_count:
        digest.update(_numbers(pc.is_null(array).cast(pa.uint8())))
    if isinstance(array, pa.ExtensionArray):
        _update(digest, array.storage)
    elif pa.types.is_dictionary(kind):
        _update(digest, array.dictionary_decode())
    elif pa.types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        for name, part in zip(names, array.flatten(), strict=True):
            # A decoded file: where it came from names a machine, not the data.
            named = set(names) == _FILE_FIELDS and name == "path" and pa.types.is_string(part.type)
            _update(digest, pc.replace_substring_regex(part, r"^.*[\\/]", "") if named else part)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        digest.update(_numbers(pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())))
        _update(digest, array.flatten())
    elif pa.types.is_null(kind):
        digest.update(len(array).to_bytes(8, "little"))
    elif _is_text(kind):
        bare = pc.fill_null(array, _nothing(kind)).cast(pa.large_binary())
        digest.update(_numbers(pc.binary_length(bare).cast(pa.int64())))
        digest.update(b"".join(bare.to_pylist()))
    elif pa.types.is_boolean(kind):
        digest.update(_numbers(pc.fill_null(array, False).cast(pa.uint8())))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        digest.update(_numbers(pc.fill_null(array, pa.scalar(0, kind))))
    else:
        digest.update(canonical_json([str(value) for value in array.to_pylist()]).encode())


def _row_hashes(array: Any) -> Any:
    """A hash of each value of a column: of numbers by their bytes, of others by `_cells`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        data = _numbers(pc.fill_null(array, pa.scalar(0, kind)))
        hashes = hash_rows(np.frombuffer(data, np.uint8).reshape(len(array), -1))
        if array.null_count:
            hashes[pc.is_null(array).to_numpy(zero_copy_only=False)] = 0
        return hashes
    return hash_values(_cells(array))


def _cells(array: Any) -> list[bytes]:
    """Each value of a column as bytes of its own: a zero byte for null, else a one, and length, where it may vary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _cells(array.storage)
    if pa.types.is_dictionary(kind):
        return _cells(array.dictionary_decode())
    if pa.types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        parts = []
        for name, part in zip(names, array.flatten(), strict=True):
            named = set(names) == _FILE_FIELDS and name == "path" and pa.types.is_string(part.type)
            parts.append(_cells(pc.replace_substring_regex(part, r"^.*[\\/]", "") if named else part))
        bodies = [b"".join(row) for row in zip(*parts, strict=True)] if parts else [b""] * len(array)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_pylist()
        bodies = _slices(array.flatten(), lengths)
    elif _is_text(kind):
        bodies = [_counted(value) for value in pc.fill_null(array, _nothing(kind)).cast(pa.large_binary()).to_pylist()]
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        data, width = _numbers(pc.fill_null(array, pa.scalar(0, kind))), kind.bit_width // 8
        bodies = [data[at : at + width] for at in range(0, len(data), width)]
    else:
        bodies = [_counted(str(value).encode("utf-8", "surrogatepass")) for value in array.to_pylist()]
    if not array.null_count:
        return [b"\1" + body for body in bodies]
    return [b"\1" + body if valid else _NULL for body, valid in zip(bodies, array.is_valid().to_pylist(), strict=True)]


def _slices(items: Any, lengths: list[int]) -> list[bytes]:
    """The items of each list one after the other, and how many they are; of numbers also which are null, if any."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = items.type
    found, at = [], 0
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        data, width = _numbers(pc.fill_null(items, pa.scalar(0, kind))), kind.bit_width // 8
        nulls = _numbers(pc.is_null(items).cast(pa.uint8()))
        for length in lengths:
            own = nulls[at : at + length]
            mask = b"\1" + own if any(own) else b"\0"
            found.append(length.to_bytes(8, "little") + mask + data[at * width : (at + length) * width])
            at += length
        return found
    cells = _cells(items)
    for length in lengths:
        found.append(length.to_bytes(8, "little") + b"".join(cells[at : at + length]))
        at += length
    return found


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def _nothing(kind: Any) -> str | bytes:
    return "" if "string" in str(kind) else b""


def _is_text(kind: Any) -> bool:
    return str(kind) in {"string", "binary", "large_string", "large_binary", "string_view", "binary_view"}


def _numbers(array: Any) -> bytes:
    import numpy as np

    return np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).tobytes()
