"""A lake's own root and its cold root lie apart: neither is the other one, or below it."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from lightning_lde.errors import ConfigurationError

_SAME_PROTOCOL = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "local": "file"}


def require_apart(hot_url: str, cold_url: str) -> None:
    """Refuse a cold root that is the lake's own root, lies below it, or has it below itself.

    Files have the same paths in both roots: in one place the copy in the cold root would be the file itself, and what
    removes the file would remove both.

    Args:
        hot_url: The lake's absolute address.
        cold_url: The cold root's.

    Raises:
        ConfigurationError: If they do not lie apart.
    """
    hot, cold = _place(hot_url), _place(cold_url)
    shorter = min(len(hot), len(cold))
    if hot[:shorter] == cold[:shorter]:
        raise ConfigurationError(
            f"the cold root {cold_url} and the lake {hot_url} lie in one another: "
            "give the cold root a place of its own, such as another prefix beside the lake"
        )


def _place(url: str) -> tuple[str, ...]:
    """Protocol and names from the top down; links of this machine's file system are followed."""
    parts = urlsplit(url)
    if not parts.scheme or "://" not in url:
        return ("file", *_names(os.path.realpath(url)))
    protocol = _SAME_PROTOCOL.get(parts.scheme.lower(), parts.scheme.lower())
    rest = url.split("://", 1)[1]
    if protocol == "file":
        return ("file", *_names(os.path.realpath("/" + unquote(rest).partition("/")[2])))
    return (protocol, *_names(rest))


def _names(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name not in {"", "."})
