"""The tiers of a lake as ``lde.json`` has them: cold root, storage class, rules, prices."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning_lde.errors import ConfigurationError
from lightning_lde.tiering._prices import NAMES, Prices, checked_price, list_prices, with_changes
from lightning_lde.tiering._rules import Rule

_KNOWN = ("id", "cold", "storage_class", "former", "used", "rules", "prices")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://.")
_CLASS = re.compile(r"^[A-Z][A-Z_]*$")
_PRICE = "tiers.prices."


@dataclass(frozen=True)
class TierPolicy:
    """Where files of a lake go when they are no longer needed at once.

    Attributes:
        cold_root: The address of the cold root, absolute; None for none.
        storage_class: Storage class of what is written there, where it is on S3.
        rules: In their order; the first that means a file decides.
        prices: Prices that differ from the list.
        former_roots: Addresses that were the cold root before: files may lie there still.
        used_roots: Roots that were written to, so that one that is not there is not taken for an empty one.
        tier_id: Tells cold roots of different lakes apart.
        problem: Why the tiers cannot be understood, None where they can: then nothing is moved, and what was is read.
        unknown: Keys of newer versions, which are kept.
    """

    cold_root: str | None = None
    storage_class: str | None = None
    rules: tuple[Rule, ...] = ()
    prices: Mapping[str, float | str] = field(default_factory=dict)
    former_roots: tuple[str, ...] = ()
    used_roots: tuple[str, ...] = ()
    tier_id: str = ""
    problem: str | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def roots(self) -> tuple[str, ...]:
        """All places where cold files may lie, the present one first."""
        return (*(() if self.cold_root is None else (self.cold_root,)), *self.former_roots)

    def as_dict(self) -> dict[str, Any]:
        """The tiers as they stand in ``lde.json``."""
        return {
            **self.unknown,
            "id": self.tier_id,
            "cold": self.cold_root,
            "storage_class": self.storage_class,
            "former": list(self.former_roots),
            "used": list(self.used_roots),
            "rules": [rule.as_dict() for rule in self.rules],
            "prices": dict(self.prices),
        }

    def settings(self) -> dict[str, str]:
        """What can be changed one by one, as words under dotted keys, and the rules under their numbers."""
        return {
            "tiers.cold": self.cold_root or "",
            "tiers.storage_class": self.storage_class or "",
            **({"tiers.former": ", ".join(self.former_roots)} if self.former_roots else {}),
            **{f"tiers.rule.{number}": str(rule) for number, rule in enumerate(self.rules, 1)},
            **{f"{_PRICE}{name}": str(value) for name, value in sorted(self.prices.items())},
        }

    @staticmethod
    def is_setting(key: str) -> bool:
        """Whether a key is one of ``changed``."""
        return key in {"tiers.cold", "tiers.former", "tiers.storage_class"} or key in {_PRICE + name for name in NAMES}

    def changed(self, key: str, value: str) -> TierPolicy:
        """The tiers with one setting changed.

        Args:
            key: ``tiers.cold``, ``tiers.storage_class``, ``tiers.prices.NAME``, or ``tiers.former``, which can only be
                emptied: then former cold roots are forgotten, and with them what lies there.
            value: Its value; an empty one takes the setting away.

        Raises:
            ConfigurationError: If there is no such setting, or it cannot have the value.
        """
        self.require_understood()
        if key == "tiers.cold":
            return self._with_root(checked_root(value) if value else None)
        if key == "tiers.former":
            if value:
                raise ConfigurationError("tiers.former can only be emptied: tiers.former=")
            return replace(self, former_roots=(), used_roots=tuple(set(self.used_roots) & {self.cold_root or ""}))
        if key == "tiers.storage_class":
            return replace(self, storage_class=_checked_class(value or None))
        if key.startswith(_PRICE):
            name = key.removeprefix(_PRICE)
            price = checked_price(name, value) if value else None
            rest = {one: kept for one, kept in self.prices.items() if one != name}
            return replace(self, prices=rest if price is None else {**rest, name: price})
        known = ["tiers.cold", "tiers.storage_class", *(_PRICE + name for name in NAMES)]
        raise ConfigurationError(f"the tiers have no {key!r}: give one of {', '.join(known)}, or --rule")

    def _with_root(self, root: str | None) -> TierPolicy:
        former = [one for one in self.roots if one != root]
        return replace(self, cold_root=root, former_roots=tuple(dict.fromkeys(former)))

    def with_rules(self, *added: str, dropped: tuple[int, ...] = ()) -> TierPolicy:
        """The tiers with other rules.

        Args:
            added: Rules as people write them; they come last.
            dropped: Numbers of present rules that go, counted from one.

        Raises:
            ConfigurationError: If a rule cannot be understood, or there is none of a number.
        """
        self.require_understood()
        if wrong := [number for number in dropped if not 1 <= number <= len(self.rules)]:
            raise ConfigurationError(f"there is no rule {wrong[0]}: there are {len(self.rules)}")
        kept = [rule for number, rule in enumerate(self.rules, 1) if number not in dropped]
        return replace(self, rules=(*kept, *map(Rule.parse, added)))

    def require_understood(self) -> None:
        """Make sure that the tiers can be understood.

        Raises:
            ConfigurationError: If they cannot.
        """
        if self.problem is not None:
            raise ConfigurationError(
                f"tiers in lde.json cannot be understood, so nothing is moved: {self.problem}; "
                "upgrade lightning-lde, or correct the file"
            )

    def prices_for(self, hot_url: str) -> Prices:
        """The prices that count.

        Args:
            hot_url: The lake's address.
        """
        return with_changes(list_prices(hot_url, self.cold_root, self.storage_class), self.prices)


def new_tier_id() -> str:
    """An id by which a cold root knows the lake that it belongs to."""
    return uuid.uuid4().hex


def tier_policy_of(marker: Mapping[str, Any]) -> TierPolicy:
    """The tiers that the content of ``lde.json`` has; where they cannot be understood, those that move nothing.

    Args:
        marker: What the JSON holds.
    """
    found = marker.get("tiers")
    if found is None:
        return TierPolicy()
    if not isinstance(found, Mapping):
        return TierPolicy(problem=f"tiers is {type(found).__name__}, not an object")
    roots = _roots(found)
    try:
        prices = found.get("prices") or {}
        return replace(
            roots,
            storage_class=_checked_class(found.get("storage_class")),
            rules=tuple(map(Rule.from_dict, found.get("rules") or ())),
            prices={name: checked_price(name, value) for name, value in prices.items()},
        )
    except (AttributeError, ConfigurationError, TypeError) as error:
        return replace(roots, problem=str(error))


def _roots(found: Mapping[str, Any]) -> TierPolicy:
    """What is needed to read cold files, whatever the rest says."""
    cold = found.get("cold")
    problem = None
    if cold is not None and not _is_absolute(cold):
        cold, problem = None, f"cold is {cold!r}, no absolute address"
    return TierPolicy(
        cold_root=cold,
        former_roots=_addresses(found.get("former")),
        used_roots=_addresses(found.get("used")),
        tier_id=str(found.get("id") or ""),
        problem=problem,
        unknown={key: value for key, value in found.items() if key not in _KNOWN},
    )


def _addresses(found: Any) -> tuple[str, ...]:
    return tuple(one for one in found if _is_absolute(one)) if isinstance(found, list) else ()


def checked_root(address: str) -> str:
    """An address that means the same in any working directory; a folder's is made absolute.

    Raises:
        ConfigurationError: If it is neither a folder nor a URL, or holds credentials.
    """
    text = address.strip()
    if re.match(r"^[A-Za-z][A-Za-z0-9+.-]+:(?!//)", text):
        raise ConfigurationError(f"the cold root {address!r} is not a URL: write it as scheme://…")
    if re.match(r"^[a-z0-9+.-]+://[^/]*@", text, re.IGNORECASE):
        raise ConfigurationError("the cold root's URL holds credentials: they never stand in a lake")
    if _URL.match(text):
        return text.rstrip("/")
    return str(Path(text).expanduser().absolute())


def _is_absolute(address: Any) -> bool:
    return isinstance(address, str) and (_URL.match(address) is not None or Path(address).is_absolute())


def _checked_class(word: Any) -> str | None:
    if word is not None and (not isinstance(word, str) or _CLASS.match(word) is None):
        raise ConfigurationError(f"storage_class is {word!r}: give a word such as STANDARD_IA, GLACIER, DEEP_ARCHIVE")
    return word
