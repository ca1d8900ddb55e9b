"""Reads the footer of a Parquet file by itself, and compares what it says of columns with their values.

Of a column whose entry is damaged Arrow's own objects for it end the process, so they are not asked.

Source: https://parquet.apache.org/docs/file-format/metadata and Thrift's compact protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

_BOOLEAN, _INT64 = 0, 2
_DEEPEST = 16
_TAIL = 8


class Column(NamedTuple):
    """What a footer says of a column of a row group.

    Attributes:
        name: Its name, with dots where it is nested.
        type: Its physical type, by Parquet's number.
        values: How many values it has.
        nulls: How many of them are null; None where that is not said.
        least: The least value as it is stored; None where that is not said.
        greatest: The greatest.
        is_strange: Whether it has another type or name than the file's schema says.
    """

    name: str
    type: int
    values: int
    nulls: int | None
    least: bytes | None
    greatest: bytes | None
    is_strange: bool


def columns_of(content: bytes) -> list[list[Column]]:
    """The columns of each row group.

    Args:
        content: The file.

    Raises:
        ValueError: If the footer cannot be understood.
    """
    size = int.from_bytes(content[-_TAIL:-4], "little")
    if content[-4:] != b"PAR1" or size > len(content) - _TAIL:
        raise ValueError("it does not end as a Parquet file")
    try:
        footer = _Reader(content[-_TAIL - size : -_TAIL]).struct()
        leaves = [one for one in footer[2] if not one.get(5)]
        return [[_column(chunk[3], leaf) for chunk, leaf in zip(group[1], leaves, strict=True)] for group in footer[4]]
    except (KeyError, TypeError, IndexError, struct.error, UnicodeDecodeError, AttributeError) as error:
        raise ValueError(f"its footer cannot be understood: {type(error).__name__}: {error}") from error


def _column(found: Mapping[int, Any], leaf: Mapping[int, Any]) -> Column:
    path = [part.decode() for part in found[3]]
    said: Mapping[int, Any] = found.get(12, {})
    is_exact = said.get(7, True) and said.get(8, True)
    least, greatest = (said.get(6), said.get(5)) if is_exact else (None, None)
    is_strange = found[1] != leaf[1] or path[-1] != leaf[4].decode()
    return Column(".".join(path), found[1], found[5], said.get(3), least, greatest, is_strange)


def untrue(columns: list[Column], rows: pa.Table) -> Iterator[str]:
    """What a footer says of a row group's columns that their values do not bear out, in sentences.

    Args:
        columns: What it says.
        rows: The rows of the group.
    """
    import pyarrow.compute as pc

    for column in columns:
        if column.name not in rows.column_names:
            if column.is_strange:
                yield f"its footer says two things of the column {column.name}"
            continue
        values = rows.column(column.name)
        if column.is_strange or column.values != rows.num_rows:
            yield f"its footer says two things of the column {column.name}"
        elif column.nulls not in {None, values.null_count}:
            yield f"its footer says another number of nulls in {column.name} than there are"
        elif column.least is not None and column.greatest is not None and values.null_count < len(values):
            bounds = pc.min_max(_as_stored(values, column.type)).as_py()
            found = [_bytes(bounds[end], column.type) for end in ("min", "max")]
            if [column.least, column.greatest] != found:
                yield f"the values of {column.name} are not between those that its footer says"


def _as_stored(values: pa.ChunkedArray, kind: int) -> pa.ChunkedArray:
    import pyarrow as pa

    return values.cast(pa.int64()) if kind == _INT64 else values


def _bytes(value: Any, kind: int) -> bytes:
    if kind == _INT64:
        return struct.pack("<q", value)
    return bytes([value]) if kind == _BOOLEAN else str(value).encode()


class _Reader:
    """Thrift's compact protocol, as much of it as footers need."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._depth = 0
        self._by_type: dict[int, Callable[[], Any]] = {
            1: lambda: True, 2: lambda: False, 3: self._byte, 4: self._number, 5: self._number, 6: self._number,
            7: self._double, 8: self._binary, 9: self._list, 10: self._list, 11: self._map, 12: self.struct,
        }  # fmt: skip

    def struct(self) -> dict[int, Any]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("its footer is nested too deeply")
        found: dict[int, Any] = {}
        number = 0
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self._number()
            found[number] = self._value(header & 15)
        self._depth -= 1
        return found

    def _value(self, kind: int) -> Any:
        return self._by_type[kind]()

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _number(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _double(self) -> float:
        self._at += 8
        found: float = struct.unpack("<d", self._data[self._at - 8 : self._at])[0]
        return found

    def _binary(self) -> bytes:
        size = self._unsigned()
        self._at += size
        if self._at > len(self._data):
            raise ValueError("its footer ends too early")
        return self._data[self._at - size : self._at]

    def _list(self) -> list[Any]:
        header = self._byte()
        size = header >> 4 if header >> 4 < 15 else self._unsigned()
        if size > len(self._data):
            raise ValueError("its footer ends too early")
        # In lists booleans are bytes.
        read = self._byte if header & 15 in {1, 2} else self._by_type[header & 15]
        return [read() for _ in range(size)]

    def _map(self) -> dict[Any, Any]:
        if not (size := self._unsigned()):
            return {}
        kinds = self._byte()
        return {self._value(kinds >> 4): self._value(kinds & 15) for _ in range(min(size, len(self._data)))}
