"""A store that fails on demand, wrapped around one that works."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lightning_lde.errors import StoreError
from lightning_lde.lake.stores import Store, StoredFile

if TYPE_CHECKING:
    import pyarrow.fs as pa_fs

_Result = TypeVar("_Result")


class FaultKind(str, enum.Enum):
    """What goes wrong with one operation."""

    BEFORE = "before"
    """It fails and has done nothing."""
    AFTER = "after"
    """It has done its work, and the answer is lost: the caller gets an error."""
    DELAY = "delay"
    """It works, late."""
    TORN = "torn"
    """A write leaves the first half of the bytes under the final name and fails; others fail as with ``BEFORE``."""
    BROKEN_LISTING = "broken listing"
    """A listing fails after half of its files; other operations fail as with ``BEFORE``."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: What.
        delay_s: Seconds that the operation waits first.
        error: Makes the error from a message.
    """

    kind: FaultKind
    delay_s: float = 0.0
    error: Callable[[str], Exception] = StoreError


@dataclass(frozen=True)
class Call:
    """One operation that a store was asked for.

    Attributes:
        operation: The method's name.
        path: Its path or prefix.
        fault: What went wrong, None if nothing did.
    """

    operation: str
    path: str
    fault: Fault | None


FaultPlan = Iterable[Fault | None] | Callable[[str, str], Fault | None]


class FaultyStore:
    """Another store with faults in its reads, writes, listings and deletions.

    ``local_path`` and ``arrow_filesystem`` are the other store's own: who opens files by them meets no faults.
    Threads may share it. A pickled copy has no faults.

    Args:
        store: The store that does the work.
        faults: One entry for each operation in turn, None where it works, and nothing goes wrong after the last;
            or a function that is given the operation's name and path.

    Attributes:
        calls: The operations so far.

    Example:
        >>> import tempfile
        >>> from lightning_lde.lake.stores import open_store
        >>> store = FaultyStore(open_store(tempfile.mkdtemp()), [Fault(FaultKind.AFTER)])
        >>> store.put("x", b"1")
        Traceback (most recent call last):
        lightning_lde.errors.StoreError: injected fault (after): put x
        >>> store.get("x")
        b'1'
    """

    def __init__(self, store: Store, faults: FaultPlan = ()) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self.plan(faults)

    def plan(self, faults: FaultPlan) -> None:
        """Let other things go wrong from now on.

        Args:
            faults: As the constructor takes them.
        """
        with self._lock:
            self._next_fault = faults if callable(faults) else _in_turn(faults)

    def heal(self) -> None:
        """Let nothing go wrong from now on."""
        self.plan(())

    @property
    def url(self) -> str:
        """The other store's address."""
        return self._store.url

    @property
    def absolute_url(self) -> str:
        """The other store's address that means the same in any working directory."""
        return self._store.absolute_url

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file."""

        def torn() -> None:
            self._store.put(path, data[: len(data) // 2])

        self._run("put", path, lambda: self._store.put(path, data), torn)

    def create(self, path: str, data: bytes) -> bool:
        """Write a whole file unless there is one."""
        # Never torn: who asks for it relies on there being all of it or nothing.
        return self._run("create", path, lambda: self._store.create(path, data))

    def put_file(self, path: str, source: Path, *, sha256: str | None = None) -> None:
        """Copy a local file into the store."""

        def torn() -> None:
            data = source.read_bytes()
            self._store.put(path, data[: len(data) // 2])

        self._run("put_file", path, lambda: self._store.put_file(path, source, sha256=sha256), torn)

    def get(self, path: str) -> bytes:
        """Read a whole file."""
        return self._run("get", path, lambda: self._store.get(path))

    def exists(self, path: str) -> bool:
        """Whether there is a file of that name."""
        return self._run("exists", path, lambda: self._store.exists(path))

    def size(self, path: str) -> int | None:
        """The size of a file in bytes, None if there is none of that name."""
        return self._run("size", path, lambda: self._store.size(path))

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All files below a prefix."""
        fault = self._take("list", prefix)
        if fault is None or fault.kind is not FaultKind.BROKEN_LISTING:
            yield from _with_fault(fault, "list", prefix, lambda: self._store.list(prefix), None)
            return
        time.sleep(fault.delay_s)
        found = [*self._store.list(prefix)]
        yield from found[: len(found) // 2]
        raise _error_of(fault, "list", prefix)

    def delete(self, path: str) -> None:
        """Remove a file."""
        self._run("delete", path, lambda: self._store.delete(path))

    def check_root(self) -> None:
        """Raise if the root cannot hold a lake."""
        self._run("check_root", "", self._store.check_root)

    def local_path(self, path: str) -> str | None:
        """Where the other store has a file on this machine's disk."""
        return self._store.local_path(path)

    def arrow_filesystem(self) -> tuple[pa_fs.FileSystem, str]:
        """The other store's file system."""
        return self._store.arrow_filesystem()

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self._store}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["store"])  # type: ignore[misc]

    def _run(
        self,
        operation: str,
        path: str,
        action: Callable[[], _Result],
        torn: Callable[[], None] | None = None,
    ) -> _Result:
        return _with_fault(self._take(operation, path), operation, path, action, torn)

    def _take(self, operation: str, path: str) -> Fault | None:
        with self._lock:
            fault = self._next_fault(operation, path)
            self.calls.append(Call(operation, path, fault))
        return fault


def _in_turn(faults: Iterable[Fault | None]) -> Callable[[str, str], Fault | None]:
    rest = iter(faults)
    return lambda _operation, _path: next(rest, None)


def _with_fault(
    fault: Fault | None,
    operation: str,
    path: str,
    action: Callable[[], _Result],
    torn: Callable[[], None] | None,
) -> _Result:
    if fault is None:
        return action()
    time.sleep(fault.delay_s)
    if fault.kind is FaultKind.DELAY:
        return action()
    if fault.kind is FaultKind.AFTER:
        action()
    if fault.kind is FaultKind.TORN and torn is not None:
        torn()
    raise _error_of(fault, operation, path)


def _error_of(fault: Fault, operation: str, path: str) -> Exception:
    return fault.error(f"injected fault ({fault.kind.value}): {operation} {path}".rstrip())
