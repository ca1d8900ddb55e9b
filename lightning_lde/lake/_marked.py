"""What a lake says of itself: its marker with format, policy and tiers, and the log of what was done to it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightning_lde.errors import LakeNotFoundError, LakeURLError, StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake._actions import Action, note_action, read_actions
from lightning_lde.lake.cold import client_options
from lightning_lde.lake.stores import Store, open_store
from lightning_lde.lake.tiers import ColdRoot, cold_roots, require_apart
from lightning_lde.policy import STRICTEST, Policy, new_policy, policy_of
from lightning_lde.schema import FORMAT_VERSION
from lightning_lde.tiering import TierPolicy, new_tier_id, tier_policy_of

_ROOTS_FOR_S = 30.0
_PUBLIC_OPTIONS = ("endpoint_url", "region", "anon")


class MarkedStorage:
    """The lowest floor of `LakeStorage`: an address, and what ``lde.json`` there says.

    Args:
        url: A folder, ``s3://bucket/prefix`` or any URL that fsspec knows.
        storage_options: fsspec's options for the protocol.

    Raises:
        LakeURLError: If the address or the options cannot be understood.
    """

    def __init__(self, url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        self.store: Store = open_store(url, storage_options)
        self.given_options = dict(storage_options or {})
        given = self.given_options
        self.public_options = {name: given[name] for name in _PUBLIC_OPTIONS if given.get(name) is not None}
        self._roots: list[ColdRoot] | None = None
        self._roots_until = 0.0

    @property
    def url(self) -> str:
        """The lake's address."""
        return self.store.url

    @property
    def absolute_url(self) -> str:
        """The address that means the same in any working directory."""
        return self.store.absolute_url

    def address_of(self, path: str) -> str:
        """Where a file lies, as other programs ask for it: an absolute path on this machine's disk, or a URL."""
        return self.store.local_path(path) or f"{self.absolute_url}/{path}"

    def client_options(self) -> dict[str, str]:
        """The storage options as Delta's and Polars' clients spell them."""
        return client_options(self.store, self.given_options)

    def initialise(self) -> bool:
        """Make this address a lake; one that is a lake already stays as it is.

        Returns:
            Whether a new lake was made.

        Raises:
            LakeNotFoundError: If the bucket is missing, or a file is in the folder's place.
            StoreError: If the storage cannot be written.
        """
        if self.store.exists(_layout.MARKER) and not _is_torn(found := self.store.get(_layout.MARKER)):
            self._check_version(found)
            return False
        # Of two writers at once the later one's salt counts: whoever needs it reads it again.
        marker = {"format": "lightning-lde", "format_version": FORMAT_VERSION, "policy": new_policy().as_dict()}
        try:
            self.store.put(_layout.MARKER, _marker_bytes(marker))
        except StoreError:
            self.store.check_root()  # says it better where the bucket is missing or a file is in the way
            raise
        return True

    def require(self) -> None:
        """Make sure that there is a lake of a format that this version reads.

        Raises:
            LakeNotFoundError: If the bucket, the folder or the lake is missing.
            LakeURLError: If the lake has a newer format.
        """
        try:
            found = self.store.get(_layout.MARKER)
        except OSError as error:
            self.store.check_root()  # says it better where the bucket is missing or a file is in the way
            if not isinstance(error, FileNotFoundError):
                raise
            raise LakeNotFoundError(f"no lake at {self.url}: make one with `lde init {self.url}`") from error
        self._check_version(found)

    def _check_version(self, marker: bytes) -> None:
        try:
            version = int(json.loads(marker)["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise LakeURLError(f"{_layout.MARKER} at {self.url} is not a lake's: {error}") from error
        if version > FORMAT_VERSION:
            raise LakeURLError(
                f"the lake at {self.url} has format {version}, this version reads up to {FORMAT_VERSION}: "
                "upgrade lightning-lde"
            )

    def policy(self) -> Policy:
        """What the lake takes, read anew.

        Raises:
            FileNotFoundError: If there is no lake.
            StoreError: If it cannot be read.
        """
        try:
            marker = json.loads(self.store.get(_layout.MARKER))
        except ValueError:
            return STRICTEST
        return policy_of(marker) if isinstance(marker, dict) else STRICTEST

    def set_policy(self, policy: Policy) -> None:
        """Change what the lake takes from now on, by one write; what else the marker holds stays.

        Args:
            policy: The new policy; without a salt it gets one.
        """
        self.require()
        marker = json.loads(self.store.get(_layout.MARKER))
        salted = policy if policy.salt else replace(policy, salt=new_policy().salt)
        before = policy_of(marker).settings()
        self.store.put(_layout.MARKER, _marker_bytes({**marker, "policy": salted.as_dict()}))
        after = salted.settings()
        self.note_action("policy", {key: [before[key], after[key]] for key in after if before[key] != after[key]})

    def tiers(self) -> TierPolicy:
        """Where files of the lake go when they are no longer needed at once, read anew.

        Raises:
            LakeNotFoundError: If there is no lake.
            StoreError: If it cannot be read.
        """
        self.require()
        return tier_policy_of(json.loads(self.store.get(_layout.MARKER)))

    def set_tiers(self, tiers: TierPolicy) -> None:
        """Change the tiers by one write; what else the marker holds stays.

        Args:
            tiers: The new tiers; without an id they get one.

        Raises:
            ConfigurationError: If the cold root lies in the lake, or the lake in it.
        """
        self.require()
        if tiers.cold_root is not None:
            require_apart(self.absolute_url, tiers.cold_root)
        marker = json.loads(self.store.get(_layout.MARKER))
        known = tiers if tiers.tier_id else replace(tiers, tier_id=new_tier_id())
        before = tier_policy_of(marker).settings()
        self.store.put(_layout.MARKER, _marker_bytes({**marker, "tiers": known.as_dict()}))
        self._roots = None
        after = known.settings()
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        self.note_action("policy", {key: [before.get(key, ""), after.get(key, "")] for key in keys})

    def use_root(self, url: str) -> None:
        """Keep in mind that files are written to a cold root: from then on it has to be there.

        Args:
            url: Its address.
        """
        tiers = self.tiers()
        if url not in tiers.used_roots:
            marker = json.loads(self.store.get(_layout.MARKER))
            known = replace(tiers, used_roots=(*tiers.used_roots, url)).as_dict()
            self.store.put(_layout.MARKER, _marker_bytes({**marker, "tiers": known}))
            self._roots = None

    def _cold_roots(self) -> list[ColdRoot]:
        """Where files may lie that are not in the lake's own root; read now and then, as it hardly ever changes."""
        if self._roots is None or time.monotonic() > self._roots_until:
            self._roots = cold_roots(self.tiers(), self.store, self.given_options)
            self._roots_until = time.monotonic() + _ROOTS_FOR_S
        return self._roots

    def migrate(self) -> tuple[int, int]:
        """Bring the lake to the newest version of the format; older versions of this package refuse it then.

        Returns:
            The version that it had, and the one that it has.

        Raises:
            LakeNotFoundError: If there is no lake.
            LakeURLError: If the lake has a newer format, or cannot be understood.
            StoreError: If the storage fails.
        """
        self.require()
        before = self._lift_format()
        if before != FORMAT_VERSION:
            self.note_action("migrate", {"from": before, "to": FORMAT_VERSION})
        return before, FORMAT_VERSION

    def _lift_format(self) -> int:
        """Versions that do not know of cold tables must not take what is left for the whole; the version before."""
        marker = json.loads(self.store.get(_layout.MARKER))
        before = int(marker["format_version"])
        if before < FORMAT_VERSION:
            self.store.put(_layout.MARKER, _marker_bytes({**marker, "format_version": FORMAT_VERSION}))
        return before

    def note_action(self, action: str, details: Mapping[str, Any]) -> Action:
        """Note what was done to the lake, with who did it as far as the policy lets people be named.

        Where the note cannot be written, a `MaintenanceWarning` holds it: what was done is done.

        Args:
            action: What was done, one word.
            details: What it came to: counts, sizes, settings; what JSON lacks becomes text.
        """
        return note_action(self.store, self.policy, action, details)

    def actions(self, limit: int | None = None) -> list[Action]:
        """What was done to the lake, newest first.

        Args:
            limit: How many at most; None for all.

        Raises:
            LakeNotFoundError: If there is no lake.
            StoreError: If the notes cannot be read.
        """
        self.require()
        return read_actions(self.store, limit)


def _marker_bytes(marker: Mapping[str, Any]) -> bytes:
    return (json.dumps(marker, indent=2) + "\n").encode()


def _is_torn(found: bytes) -> bool:
    """Whether it is the beginning of a marker: what a write that broke left, in a store where that can be seen."""
    head = b'{\n  "format": "lightning-lde"'
    if not (found.startswith(head) or head.startswith(found)):
        return False
    try:
        json.loads(found)
    except ValueError:
        return True
    return False
