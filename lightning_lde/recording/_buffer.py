"""What a run has recorded and nobody has taken yet; logging metrics costs an append."""

from __future__ import annotations

import functools
import math
import threading
import time
from array import array
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde.capture import redact_text
from lightning_lde.recording._blocks import MOMENT, MetricBlock
from lightning_lde.recording._objects import SmallObject
from lightning_lde.schema import Record, records_to_arrow, storable_text

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_NAN = math.nan
_EXACT = 1 << 53


class Buffer:
    """Rows and metric values that wait to be taken; filled by any thread, emptied by any other.

    The values of one call are one row of floats under the tuple of their names, so a call costs no more than
    finding that tuple's array and extending it. Tensors of an accelerator are copied there and fetched later,
    many at once.
    """

    def __init__(self) -> None:
        self._records: deque[tuple[str, Record, SmallObject | None]] = deque()
        self._objects: deque[SmallObject] = deque()
        self._refused: deque[str] = deque()
        self._groups: dict[tuple[Any, ...], _Group] = {}
        self._waiting = 0
        self._latest = 0
        # A signal handler may log while its own thread logs.
        self._lock = threading.RLock()

    def add(self, table: str, *records: Record) -> None:
        """Add rows of a table."""
        self._records.extend((table, record, None) for record in records)

    def add_with_object(self, table: str, record: Record, item: SmallObject) -> None:
        """Add a row and the object that it names; whoever takes one takes the other with it."""
        self._records.append((table, record, item))

    def add_object(self, item: SmallObject) -> None:
        """Add an object; the rows that name it come after it."""
        self._objects.append(item)

    def add_metrics(
        self,
        values: Mapping[str, Any],
        segment: int,
        step: int | None,
        global_step: int | None,
        epoch: int | None,
        context: str | None,
        source: str,
    ) -> int:
        """Add the values of metrics that belong to one moment.

        Returns:
            How many values wait to be taken.
        """
        numbers: Any = values.values()
        tensors: dict[int, Tensor] = {}
        for value in numbers:
            if type(value) is not float:
                values, tensors = self._numbers(values)
                numbers = values.values()
                break
        now = time.time_ns() // 1000
        step_of_row = _NAN if step is None else step
        global_step_of_row = _NAN if global_step is None else global_step
        epoch_of_row = _NAN if epoch is None else epoch
        key = (segment, context, source, *values)
        with self._lock:
            # Times never go back, whatever the clock does: `mark` relies on it.
            if now < self._latest:
                now = self._latest
            self._latest = now
            row = (now, step_of_row, global_step_of_row, epoch_of_row, *numbers)
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = _Group(key)
            offset = len(group.rows)
            group.rows.extend(row)
            if tensors:
                group.tensors.append((offset, tensors))
            self._waiting += len(values)
            return self._waiting

    def mark(self) -> int:
        """A time, in microseconds since 1970, that parts what was logged before from what is logged later."""
        with self._lock:
            mark = max(time.time_ns() // 1000, self._latest)
            self._latest = mark + 1
            return mark

    def take_records(self) -> tuple[dict[str, pa.Table], list[str]]:
        """Take all rows out.

        Returns:
            One Arrow table per table of the lake, and a sentence for each row that cannot be stored.
        """
        rows: dict[str, list[Record]] = defaultdict(list)
        for table, record, item in _taken(self._records):
            rows[table].append(record)
            if item is not None:
                self._objects.append(item)
        tables: dict[str, pa.Table] = {}
        refused: list[str] = []
        for table, records in rows.items():
            try:
                tables[table] = records_to_arrow(table, records)
            except Exception:
                good = [record for record in records if _storable(table, record, refused)]
                if good:
                    tables[table] = records_to_arrow(table, good)
        return tables, refused

    def take_objects(self) -> list[SmallObject]:
        """Take all objects out; after the rows, so that none of them names an object that is still here."""
        return list(_taken(self._objects))

    def take_metrics(self) -> list[MetricBlock]:
        """Take all metric values out, as blocks of numbers."""
        with self._lock:
            groups, self._groups = self._groups, {}
            self._waiting = 0
        return [block for group in groups.values() if (block := group.as_block(self._refused.append)) is not None]

    def drop_metrics(self) -> int:
        """Forget all metric values that nobody has taken; how many they were."""
        with self._lock:
            self._groups = {}
            dropped, self._waiting = self._waiting, 0
            return dropped

    def take_refused(self) -> list[str]:
        """Take out a sentence for each value that is no number."""
        return list(_taken(self._refused))

    def _numbers(self, values: Mapping[str, Any]) -> tuple[dict[str, float], dict[int, Tensor]]:
        """Floats by name, and by column the tensors of an accelerator, whose numbers are fetched later."""
        numbers: dict[str, float] = {}
        tensors: dict[int, Tensor] = {}
        for name, value in values.items():
            try:
                if type(value) is float:
                    numbers[name] = value
                elif getattr(value, "is_cpu", True):
                    numbers[name] = self._number(name, value)
                elif value.numel() == 1:
                    # The training may go on to change a tensor in place before it is fetched.
                    tensors[len(numbers)] = value.detach().clone()
                    numbers[name] = _NAN
                else:
                    self._refuse(name, value)
            except Exception:
                self._refuse(name, value)
        return numbers, tensors

    def _number(self, name: str, value: Any) -> float:
        if (item := getattr(value, "item", None)) is not None:
            value = item()
            if type(value) is float:
                return value
        number = float(value)
        if isinstance(value, int) and abs(value) > _EXACT and int(number) != value:
            # The column holds 64-bit floats; who needs more digits finds them in the event.
            self._refused.append(f"metric {name!r} was {value}, which no 64-bit float holds: {number!r} was stored")
        return number

    def _refuse(self, name: str, value: object) -> None:
        self._refused.append(f"metric {name!r} is a {type(value).__name__}, not a number: it was left out"[:1000])


class _Group:
    """Rows of floats under the same names."""

    def __init__(self, key: tuple[Any, ...]) -> None:
        self._key = key
        self.rows = array("d")
        self.tensors: list[tuple[int, dict[int, Tensor]]] = []

    def as_block(self, refuse: Any) -> MetricBlock | None:
        import numpy as np

        segment, context, source, *names = self._key
        if not names or not self.rows:
            return None
        matrix = np.frombuffer(self.rows, np.float64).reshape(-1, len(MOMENT) + len(names))
        context = None if context is None else _safe_name(context)
        block = MetricBlock(tuple(map(_safe_name, names)), context, _safe_name(source), segment, matrix)
        try:
            self._fetch(block)
        except Exception as error:
            refuse(f"values of {', '.join(block.names[:3])} could not be fetched from their device: {error}"[:1000])
        return block

    def _fetch(self, block: MetricBlock) -> None:
        """One transfer for all tensors of a kind instead of one for each."""
        if not self.tensors:
            return
        import torch

        width = block.rows.shape[1]
        kinds: dict[Any, list[tuple[int, int, Tensor]]] = defaultdict(list)
        for offset, tensors in self.tensors:
            for column, tensor in tensors.items():
                kinds[tensor.device, tensor.dtype].append((offset // width, column, tensor.reshape(())))
        for rows_of_kind in kinds.values():
            rows, columns, waiting = zip(*rows_of_kind, strict=True)
            block.values[list(rows), list(columns)] = torch.stack(waiting).cpu().double().numpy()


@functools.lru_cache(maxsize=100_000)
def _safe_name(name: Any) -> str:
    return redact_text(storable_text(str(name)))


def _taken(queue: deque[Any]) -> Iterator[Any]:
    for _ in range(len(queue)):
        yield queue.popleft()


def _storable(table: str, record: Record, refused: list[str]) -> bool:
    try:
        records_to_arrow(table, [record])
    except Exception as error:
        refused.append(f"a row of {table} was left out: {type(error).__name__}: {error}"[:1000])
        return False
    return True
