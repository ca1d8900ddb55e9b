"""Environments side by side: machine, packages, determinism, variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_lde.query._differences import Fact, compare_nested
from lightning_lde.query._json import decoded, mapping_of

_PARTS = ("packages", "determinism", "variables")
_NO_FACTS = {"environment_id", "recorded_at"}


@dataclass(frozen=True, kw_only=True)
class EnvironmentComparison:
    """What several environments have in common and where they differ; ``Fact.differs`` tells which is which.

    Attributes:
        machine: Python, platform, processor, memory, GPUs, CUDA: all columns but the three below.
        packages: Versions by package.
        determinism: Flags by name.
        variables: Environment variables by name.
    """

    machine: tuple[Fact, ...]
    packages: tuple[Fact, ...]
    determinism: tuple[Fact, ...]
    variables: tuple[Fact, ...]

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not any(fact.differs for part in vars(self).values() for fact in part)


def compare_environments(environments: Sequence[Mapping[str, Any]]) -> EnvironmentComparison:
    """Compare rows of the table ``environments``.

    Args:
        environments: Two or more rows as the lake gives them; an empty one where a run has none. JSON columns may be
            text or decoded.

    Example:
        >>> first = {"python": "3.11", "packages": {"torch": "2.13"}}
        >>> found = compare_environments([first, {"python": "3.11", "packages": '{"torch":"2.12"}'}])
        >>> found.packages, found.machine[0].differs
        ((Fact(key='torch', values=('2.13', '2.12'), differs=True),), False)
    """
    parts = {name: tuple(compare_nested([_part(row, name) for row in environments], nested=False)) for name in _PARTS}
    machines = [
        {name: decoded(value) if name == "gpus" else value for name, value in row.items() if name not in _NOT_MACHINE}
        for row in environments
    ]
    return EnvironmentComparison(machine=tuple(compare_nested(machines)), **parts)


_NOT_MACHINE = _NO_FACTS | set(_PARTS)


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return mapping_of(row.get(name))
