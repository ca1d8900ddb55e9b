"""What a check of a lake finds, and the report that it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


class Severity:
    """Words of ``Finding.severity``, the worst first."""

    ERROR = "error"
    """Something is lost or damaged, or queries fail."""
    WARNING = "warning"
    """Something does not fit together; queries work."""
    INFO = "info"
    """Something lies there that nobody needs."""


class Kind:
    """Words of ``Finding.kind``."""

    MARKER = "marker"
    """``lde.json`` is missing or cannot be understood."""
    MISSING = "missing"
    """A file that something names is not there."""
    UNREADABLE = "unreadable"
    """A file cannot be read, or not all of it."""
    EMPTY = "empty"
    """A file of a table has no rows."""
    COLUMNS = "columns"
    """Columns are missing, or have another type than the table's."""
    SIZE = "size"
    """A file has another size than what names it says."""
    ROWS = "rows"
    """A file has another number of rows than what names it says."""
    BOUNDS = "bounds"
    """The least and greatest values are others than is said."""
    ORDER = "order"
    """Rows are not in the order of the table."""
    HASH = "hash"
    """The content has another hash than it should."""
    MANIFEST = "manifest"
    """A manifest is damaged or missing."""
    ABSORBED = "absorbed"
    """Rows are in the cold tables and count a second time."""
    OBSOLETE = "obsolete"
    """A hot file that a merged one covers was left."""
    TEMPORARY = "temporary"
    """A write that was broken off left something."""
    STRAY = "stray"
    """A cold file that no manifest names."""
    FOREIGN = "foreign"
    """A file that is none of a lake's."""
    DELTA = "delta"
    """A Delta log is damaged, or does not show what the manifest says."""
    REFERENCE = "reference"
    """A row names something of which there is no row."""
    CONDEMNED = "condemned"
    """A deletion of objects that was not finished."""


_ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        severity: A word of ``Severity``.
        kind: A word of ``Kind``.
        path: The file, relative to the lake's root.
        message: What is wrong with it, and what can be done.
        repair: What a repair does about it; empty where it can do nothing.
        is_repaired: Whether it was done.
    """

    severity: str
    kind: str
    path: str
    message: str
    repair: str = ""
    is_repaired: bool = False

    @property
    def rank(self) -> tuple[int, str, str, str]:
        """Sorts the worst first."""
        return _ORDER.index(self.severity), self.kind, self.path, self.message


@dataclass(frozen=True)
class Found:
    """A finding, and how it is repaired.

    Attributes:
        finding: The finding.
        apply: Repairs it and says whether that was done; None where nothing can be.
    """

    finding: Finding
    apply: Callable[[], bool] | None = None


@dataclass
class CheckReport:
    """What a check looked at, and what it found.

    Attributes:
        lake: The lake's address.
        is_deep: Whether contents were read, and not only what says where they are.
        findings: What was found, the worst first.
        files: Files of tables that were looked at.
        rows: Their rows.
        objects: Objects that were looked at.
        bytes: Bytes of the files and objects.
        archived: Objects that lie in cold roots alone; they were counted only.
        skipped: What was not looked at, in sentences.
        seconds: How long it took.
    """

    lake: str
    is_deep: bool = False
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    rows: int = 0
    objects: int = 0
    bytes: int = 0
    archived: int = 0
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_fine(self) -> bool:
        """Whether nothing is left that is not as it should be."""
        return all(finding.is_repaired for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {**asdict(self), "is_fine": self.is_fine}
