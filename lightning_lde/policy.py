"""A lake's policy: what may be recorded into it, and how people are named in it."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from lightning_lde.errors import ConfigurationError

WITHHELD = "<withheld>"
"""What stands in place of a value that is not taken."""

LEVELS = ("minimal", "standard", "full")
"""How much is captured, from little to much."""

WAYS = ("keep", "pseudonymise", "drop")
"""What becomes of e-mail addresses, and of user and host names."""

_LISTS = ("parameters.allow", "parameters.deny", "variables.allow", "variables.deny")


@dataclass(frozen=True)
class Policy:
    """What a lake takes.

    Attributes:
        capture: The highest level of capture, a word of ``LEVELS``.
        parameters_allow: Globs of the keys of parameters that are recorded.
        parameters_deny: Globs of those that are not, also where they are allowed.
        variables_allow: Globs of the environment variables that are recorded.
        variables_deny: Globs of those that are not.
        emails: What becomes of e-mail addresses, a word of ``WAYS``.
        names: What becomes of user and host names, a word of ``WAYS``.
        salt: Makes pseudonyms of this lake its own; made with the lake and never changed.
    """

    capture: str = "full"
    parameters_allow: tuple[str, ...] = ("*",)
    parameters_deny: tuple[str, ...] = ()
    variables_allow: tuple[str, ...] = ("*",)
    variables_deny: tuple[str, ...] = ()
    emails: str = "pseudonymise"
    names: str = "pseudonymise"
    salt: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The policy as it stands in ``lde.json``."""
        return {
            "capture": self.capture,
            "parameters": {"allow": list(self.parameters_allow), "deny": list(self.parameters_deny)},
            "variables": {"allow": list(self.variables_allow), "deny": list(self.variables_deny)},
            "emails": self.emails,
            "names": self.names,
            "salt": self.salt,
        }

    def settings(self) -> dict[str, str]:
        """What can be changed, as words under dotted keys.

        Example:
            >>> Policy(parameters_deny=("patient*", "*.ssn")).settings()["parameters.deny"]
            'patient*,*.ssn'
        """
        lists = {name: ",".join(getattr(self, name.replace(".", "_"))) for name in _LISTS}
        return {"capture": self.capture, "emails": self.emails, "names": self.names, **lists}

    def changed(self, key: str, value: str) -> Policy:
        """The policy with one setting changed.

        Args:
            key: A key of `settings`.
            value: A word, or globs with commas between them.

        Raises:
            ConfigurationError: If there is no such setting, or it cannot have the value.
        """
        if key not in self.settings():
            raise ConfigurationError(f"the policy has no {key!r}: give one of {', '.join(sorted(self.settings()))}")
        if key in _LISTS:
            globs = tuple(glob.strip() for glob in value.split(",") if glob.strip())
            return replace(self, **{key.replace(".", "_"): globs})  # type: ignore[arg-type]
        return _checked(replace(self, **{key: value}))  # type: ignore[arg-type]

    def level(self, wanted: str) -> str:
        """The stricter of a level and the one that the lake allows.

        Example:
            >>> Policy(capture="standard").level("full"), Policy(capture="standard").level("minimal")
            ('standard', 'minimal')
        """
        return stricter(wanted, self.capture)

    def takes_parameter(self, key: str) -> bool:
        """Whether a parameter of that dotted key is recorded; a glob means the whole key or parts of it between dots.

        On a command line `--patient-id` is `patient_id`: either spelling counts.

        Example:
            >>> policy = Policy(parameters_deny=("patient*",))
            >>> policy.takes_parameter("lr"), policy.takes_parameter("data.patient_id")
            (True, False)
        """
        names = {*_parts(key), *_parts(key.replace("-", "_"))}
        return _takes(names, self.parameters_allow, self.parameters_deny)

    def takes_flag(self, name: str) -> bool:
        """As `takes_parameter`, for a flag of a command line, which ``argparse`` lets people abbreviate.

        Example:
            >>> policy = Policy(parameters_deny=("patient_id",))
            >>> policy.takes_flag("lr"), policy.takes_flag("patient-i")
            (True, False)
        """
        return self.takes_parameter(name) and not _may_abbreviate(name, self.parameters_deny)

    def takes_variable(self, name: str) -> bool:
        """Whether an environment variable is recorded, if the level of capture takes it."""
        return _takes({name}, self.variables_allow, self.variables_deny)


def new_policy() -> Policy:
    """The policy of a new lake, with a salt of its own."""
    return Policy(salt=secrets.token_hex(16))


def pseudonym(kind: str, name: str, how: str, salt: str) -> str:
    """What stands for a person or a machine in a lake.

    Args:
        kind: ``"email"``, ``"user"`` or ``"host"``.
        name: The name.
        how: A word of ``WAYS``.
        salt: The lake's; without one there are no pseudonyms, and names go.

    Example:
        >>> pseudonym("user", "ann", "drop", "salt"), pseudonym("user", "Ann", "pseudonymise", "salt")
        ('<user>', '<user-613f4c46a82c>')
    """
    if how == "keep":
        return name
    if how == "drop" or not salt:
        return f"<{kind}>"
    digest = hmac.new(salt.encode(), f"{kind}:{name.lower()}".encode(), hashlib.sha256).hexdigest()
    return f"<{kind}-{digest[:12]}>"


def stricter(one: str, other: str) -> str:
    """The level of the two that captures less."""
    return min(one, other, key=LEVELS.index)


def policy_of(marker: Mapping[str, Any]) -> Policy:
    """The policy that the content of ``lde.json`` holds.

    A lake without one was made before there were policies: it takes what is captured, and names stay. One that
    cannot be understood takes as little as possible.

    Args:
        marker: What the JSON holds.
    """
    found = marker.get("policy")
    if found is None:
        return Policy(emails="keep", names="keep")
    try:
        parameters, variables = found.get("parameters") or {}, found.get("variables") or {}
        return _checked(
            Policy(
                capture=found.get("capture", "full"),
                parameters_allow=_globs(parameters.get("allow", ["*"])),
                parameters_deny=_globs(parameters.get("deny", [])),
                variables_allow=_globs(variables.get("allow", ["*"])),
                variables_deny=_globs(variables.get("deny", [])),
                emails=found.get("emails", "pseudonymise"),
                names=found.get("names", "pseudonymise"),
                salt=str(found.get("salt", "")),
            )
        )
    except (AttributeError, ConfigurationError, TypeError):
        return STRICTEST


STRICTEST = Policy(capture="minimal", parameters_allow=(), variables_allow=(), emails="drop", names="drop")
"""Where a policy is there and cannot be understood."""


def check_level(level: str) -> str:
    """A level of capture.

    Raises:
        ConfigurationError: If it is none.
    """
    if level not in LEVELS:
        raise ConfigurationError(f"capture is {level!r}: give one of {', '.join(LEVELS)}")
    return level


def _checked(policy: Policy) -> Policy:
    check_level(policy.capture)
    for name in ("emails", "names"):
        if getattr(policy, name) not in WAYS:
            raise ConfigurationError(f"{name} is {getattr(policy, name)!r}: give one of {', '.join(WAYS)}")
    return policy


def _globs(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("globs are a list of texts")
    return tuple(values)


def _parts(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[at:end]) for at in range(len(parts)) for end in range(at + 1, len(parts) + 1)]


def _may_abbreviate(name: str, globs: tuple[str, ...]) -> bool:
    """Whether a name is how one begins that a glob means, as far as the glob says it in letters."""
    written = name.lower().replace("-", "_")
    begins = (re.split(r"[*?\[]", glob.lower().replace("-", "_"))[0] for glob in globs)
    return written != "" and any(known.startswith(written) for known in begins)


def _takes(names: set[str], allow: tuple[str, ...], deny: tuple[str, ...]) -> bool:
    def matches(globs: tuple[str, ...]) -> bool:
        return any(fnmatchcase(name.lower(), glob.lower()) for name in names for glob in globs)

    return matches(allow) and not matches(deny)
