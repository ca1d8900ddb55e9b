"""Every error and warning this package raises, each also a builtin that callers already catch."""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "DataError",
    "LDEError",
    "LDEWarning",
    "LakeNotFoundError",
    "LakeURLError",
    "MissingDependencyError",
    "QueryError",
    "RecordingWarning",
    "RunNotFoundError",
    "StoreError",
]


class LDEError(Exception):
    """Base of all errors of this package."""


class LakeURLError(LDEError, ValueError):
    """A lake's address cannot be understood or its storage options do not fit it."""


class LakeNotFoundError(LDEError, FileNotFoundError):
    """There is no lake at the address, or the bucket does not exist."""


class StoreError(LDEError, OSError):
    """The storage below a lake refused or failed an operation."""


class RunNotFoundError(LDEError, LookupError):
    """No run, or more than one, answers to an id or a prefix of it."""


class QueryError(LDEError, ValueError):
    """A query is not valid SQL or names what the lake does not have."""


class DataError(LDEError, ValueError):
    """A data set, episode or table does not have the form a method needs."""


class ConfigurationError(LDEError, ValueError):
    """A setting has a value that cannot work."""


class MissingDependencyError(LDEError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class LDEWarning(UserWarning):
    """Base of all warnings of this package."""


class RecordingWarning(LDEWarning):
    """Something of a run could not be recorded; training goes on."""
