"""Arrow columns from Python values and numpy arrays.

``pyarrow.array`` would do, but it imports pandas wherever that is installed: a third of a second during which a
training beside it stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

__all__ = ["column_of", "numbers", "repeated_words", "words"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def column_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """A column of Python values, None for null.

    Args:
        values: Values that fit the type.
        kind: A type that a table of a lake has: string, int64, double, bool, UTC timestamp, or a list of numbers.

    Raises:
        TypeError: If a value is of another type.
        OverflowError: If a number does not fit.
    """
    import numpy as np
    import pyarrow as pa

    missing = np.array([value is None for value in values], bool)
    if pa.types.is_string(kind):
        return words(values)
    if pa.types.is_list(kind):
        return _lists(values, kind, missing)
    if pa.types.is_boolean(kind):
        bits = np.packbits(np.array([bool(value) for value in values], bool), bitorder="little")
        return pa.Array.from_buffers(kind, len(values), [_validity(missing), pa.py_buffer(bits)])
    if pa.types.is_timestamp(kind):
        plain = np.array([0 if value is None else _microseconds(value) for value in values], np.int64)
    elif pa.types.is_integer(kind):
        plain = np.array([0 if value is None else _whole(value) for value in values], np.int64)
    else:
        plain = np.array([0.0 if value is None else float(value) for value in values], np.float64)
    return numbers(plain, kind, missing)


def numbers(values: npt.NDArray[Any], kind: pa.DataType, missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of numbers as they lie in memory.

    Args:
        values: One-dimensional, of the width of the type.
        kind: A type of fixed width other than bool.
        missing: Where the column is null, None for nowhere.
    """
    import numpy as np
    import pyarrow as pa

    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None if missing is None else _validity(missing), data])


def words(values: Sequence[str | None]) -> pa.Array:
    """A column of text, None for null."""
    import numpy as np
    import pyarrow as pa

    pieces = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([0, *map(len, pieces)])
    if ends[-1] > np.iinfo(np.int32).max:
        raise OverflowError(f"{ends[-1]} bytes of text do not fit into one column")
    missing = np.array([value is None for value in values], bool)
    buffers = [_validity(missing), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(pieces))]
    return pa.Array.from_buffers(pa.string(), len(pieces), buffers)


def repeated_words(values: Sequence[str | None], times: npt.NDArray[np.int64]) -> pa.Array:
    """A dictionary-encoded column: each word as many times as said."""
    import numpy as np
    import pyarrow as pa

    different = list(dict.fromkeys(value for value in values if value is not None))
    places = {word: place for place, word in enumerate(different)}
    codes = np.repeat(np.array([-1 if value is None else places[value] for value in values], np.int32), times)
    indices = numbers(np.maximum(codes, 0), pa.int32(), codes < 0)
    return pa.DictionaryArray.from_arrays(indices, words(different))


def _validity(missing: npt.NDArray[np.bool_]) -> pa.Buffer | None:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None


def _lists(values: Sequence[Any], kind: pa.DataType, missing: npt.NDArray[np.bool_]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    whole = pa.types.is_integer(kind.value_type)
    flat = [_whole(item) if whole else float(item) for value in values if value is not None for item in value]
    ends = np.cumsum([0, *(0 if value is None else len(value) for value in values)]).astype(np.int32)
    inner = numbers(np.array(flat, np.int64 if whole else np.float32), kind.value_type)
    buffers = [_validity(missing), pa.py_buffer(ends)]
    return pa.Array.from_buffers(kind, len(values), buffers, children=[inner])


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise TypeError(f"{value!r} is no whole number")
    return int(value)


def _microseconds(value: datetime) -> int:
    difference = value - _EPOCH
    return (difference.days * 86_400 + difference.seconds) * 1_000_000 + difference.microseconds
