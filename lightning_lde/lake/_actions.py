"""The log of maintenance: one small file for each thing that was done to a lake, never changed afterwards."""

from __future__ import annotations

import getpass
import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lightning_lde.errors import MaintenanceWarning, StoreError, tell
from lightning_lde.lake.stores import Store
from lightning_lde.policy import STRICTEST, Policy, pseudonym
from lightning_lde.schema import new_run_id, storable_text, utc_now

ACTIONS = "maintenance/"

_NAME = re.compile(rf"^{ACTIONS}([0-9a-f-]{{36}})\.json$")
_PAUSES_S = (0.2, 0.8)
_THREADS = 16


@dataclass(frozen=True)
class Action:
    """One thing that was done to a lake.

    Attributes:
        action_id: A UUIDv7, so that ids sort by time.
        action: What was done: ``compact``, ``policy``, …
        at: When it was over.
        by: Kind (``user``, ``host``) and name of who did it, as the lake's policy lets people be named.
        details: What it came to; counts, sizes and settings, never what was recorded.
    """

    action_id: str
    action: str
    at: datetime
    by: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The file as docs/format.md has it."""
        content = {"action": self.action, "at": self.at.isoformat(), "by": self.by, "details": self.details}
        return (json.dumps(content, default=str) + "\n").encode()


def note_action(store: Store, policy: Callable[[], Policy], action: str, details: Mapping[str, Any]) -> Action:
    """Note what was done. It is done already: where the note cannot be written, a warning holds it, and nothing raises.

    Args:
        store: Where the lake is.
        policy: Reads what the lake takes.
        action: What was done, one word.
        details: What it came to.

    Returns:
        The note.
    """
    note = Action(new_run_id(), action, utc_now(), _who(policy), details)
    for pause_s in (*_PAUSES_S, None):
        try:
            store.put(f"{ACTIONS}{note.action_id}.json", note.to_bytes())
            break
        except (OSError, StoreError) as error:
            if pause_s is None:
                words = note.to_bytes().decode().strip()
                tell(
                    f"{action} of {store.url} was done, and cannot be noted there: {error}: {words}", MaintenanceWarning
                )
            else:
                time.sleep(pause_s)
    return note


def read_actions(store: Store, limit: int | None = None) -> list[Action]:
    """What was done to a lake, newest first.

    Args:
        store: Where the lake is.
        limit: How many at most; None for all.

    Raises:
        StoreError: If they cannot be read.
    """
    paths = sorted((one.path for one in store.list(ACTIONS) if _NAME.match(one.path)), reverse=True)[:limit]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [one for one in pool.map(lambda path: _read(store, path), paths) if one is not None]


def _read(store: Store, path: str) -> Action | None:
    """A note; None where it went since the listing, and one that says so where it is damaged."""
    action_id = path.removeprefix(ACTIONS).removesuffix(".json")
    try:
        content = json.loads(store.get(path))
        at = datetime.fromisoformat(content["at"])
        return Action(action_id, str(content["action"]), at, dict(content["by"]), dict(content["details"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        return Action(action_id, "damaged", _time_of(action_id), {}, {"path": path, "error": str(error)})


def _time_of(action_id: str) -> datetime:
    from uuid import UUID

    return datetime.fromtimestamp((UUID(action_id).int >> 80) / 1000, utc_now().tzinfo)


def _who(policy: Callable[[], Policy]) -> dict[str, str]:
    try:
        known = policy()
    except (OSError, StoreError):
        known = STRICTEST
    found: dict[str, str] = {}
    for kind, read in (("user", getpass.getuser), ("host", socket.gethostname)):
        try:
            found[kind] = pseudonym(kind, storable_text(read()), known.names, known.salt)
        except (OSError, KeyError, ImportError):
            # No name is known for the user of a container.
            continue
    return found
