"""Every error and warning this package raises, each also a builtin that callers already catch."""

from __future__ import annotations

import logging
import warnings

__all__ = [
    "ArchivedError",
    "ArtifactNotFoundError",
    "ConfigurationError",
    "DataError",
    "DiversityWarning",
    "DownloadError",
    "EraseError",
    "LDEError",
    "LDEWarning",
    "LakeNotFoundError",
    "LakeURLError",
    "MaintenanceWarning",
    "MissingDependencyError",
    "NodeNotFoundError",
    "QueryError",
    "RecordingWarning",
    "ReproductionError",
    "RowsError",
    "RunNotFoundError",
    "StoreError",
    "tell",
]


class LDEError(Exception):
    """Base of all errors of this package."""


class LakeURLError(LDEError, ValueError):
    """A lake's address cannot be understood or its storage options do not fit it."""


class LakeNotFoundError(LDEError, FileNotFoundError):
    """There is no lake at the address, or the bucket does not exist."""


class StoreError(LDEError, OSError):
    """The storage below a lake refused or failed an operation."""


class ArchivedError(StoreError):
    """A file lies in an archive and has to be asked for before it can be read.

    Attributes:
        state: In words: ``archived since …``, ``restoring``.
    """

    state: str = "archived"


class RowsError(LDEError, ValueError):
    """Rows do not fit the table they are for, or cannot be encoded; no storage would take them."""


class RunNotFoundError(LDEError, LookupError):
    """No run, or more than one, answers to an id or a prefix of it."""


class NodeNotFoundError(LDEError, LookupError):
    """Nothing in a lake, or more than one thing, answers to an id, the beginning of one, or a name."""


class ArtifactNotFoundError(LDEError, FileNotFoundError):
    """A run has no file of that path."""


class QueryError(LDEError, ValueError):
    """A query is not valid SQL or names what the lake does not have."""


class DataError(LDEError, ValueError):
    """A data set, episode or table does not have the form a method needs."""


class DownloadError(LDEError, OSError):
    """A file of a public data set cannot be fetched, or is not the one that was published."""


class ConfigurationError(LDEError, ValueError):
    """A setting has a value that cannot work."""


class EraseError(LDEError, RuntimeError):
    """Nothing can be erased now: writers or other maintenance are at work."""


class ReproductionError(LDEError, RuntimeError):
    """A run cannot be run again, or what ran again left no run to compare."""


class MissingDependencyError(LDEError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class LDEWarning(UserWarning):
    """Base of all warnings of this package."""


class RecordingWarning(LDEWarning):
    """Something of a run could not be recorded; training goes on."""


class MaintenanceWarning(LDEWarning):
    """Something about the maintenance of a lake could not be noted, or needs a look; the work itself is done."""


class DiversityWarning(LDEWarning):
    """Data that are being collected or trained on have stopped growing in diversity, or lack something."""


def tell(message: str, category: type[LDEWarning]) -> None:
    """Warn without ever raising: where warnings are errors, the message goes to the log.

    Args:
        message: What the user should know.
        category: The class by which it can be filtered.
    """
    try:
        warnings.warn(message, category, stacklevel=4)
    except LDEWarning:
        logging.getLogger("lightning_lde").warning(message)
