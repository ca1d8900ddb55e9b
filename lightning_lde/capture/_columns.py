"""Tables as bytes for a hash: Arrow tables and data frames, whatever their chunks and offsets in memory."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from lightning_lde.capture import _arrays
from lightning_lde.capture._pace import Pace
from lightning_lde.schema import canonical_json

_WINDOW_ROWS = 256
_FILE_FIELDS = {"bytes", "path"}


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


def fingerprint_table(value: Any, pace: Pace) -> tuple[str, str, int]:
    """A hash over the columns' names and types and the values of all or of evenly spaced rows.

    Up to 64 MiB all rows count, with an exact pace always.

    Args:
        value: An Arrow table or a data frame.
        pace: How to go on.

    Returns:
        32 hexadecimal digits, the method in words, and the size in bytes.

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
        pace.read(to_read * min(_WINDOW_ROWS, n_read - first) // n_read)
    method = "sha256 of rows" if rows is None else f"sha256 of {len(rows)} evenly spaced rows of a table"
    return digest.hexdigest()[:32], method, total


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
        bare = pc.fill_null(array, "" if "string" in str(kind) else b"").cast(pa.large_binary())
        digest.update(_numbers(pc.binary_length(bare).cast(pa.int64())))
        digest.update(b"".join(bare.to_pylist()))
    elif pa.types.is_boolean(kind):
        digest.update(_numbers(pc.fill_null(array, False).cast(pa.uint8())))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        digest.update(_numbers(pc.fill_null(array, pa.scalar(0, kind))))
    else:
        digest.update(canonical_json([str(value) for value in array.to_pylist()]).encode())


def _is_text(kind: Any) -> bool:
    return str(kind) in {"string", "binary", "large_string", "large_binary", "string_view", "binary_view"}


def _numbers(array: Any) -> bytes:
    import numpy as np

    return np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).tobytes()
