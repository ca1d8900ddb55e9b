"""Environments side by side: machine, packages, determinism, variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_lde.query._differences import MISSING, Fact, compare_nested
from lightning_lde.query._json import decoded, mapping_of

_PARTS = ("packages", "determinism", "variables")
_ORIGINS = "package_origins"
_NO_FACTS = {"environment_id", "recorded_at", _ORIGINS}
_SINCE_ORIGINS = {"gpu_driver", "cuda_driver", "cudnn"}


@dataclass(frozen=True, kw_only=True)
class EnvironmentComparison:
    """What several environments have in common and where they differ; ``Fact.differs`` tells which is which.

    Attributes:
        machine: Python, platform, processor, memory, GPUs, drivers: all columns but those below.
        packages: Versions by package; then, where versions are equal, what differs in origin or content, under keys
            like ``mylib (commit)``.
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

    What the writer of one of the rows did not know yet is no difference: drivers and origins of packages that an older
    version did not record, flags of determinism that it did not read.

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
    all_know = all(decoded(row.get(_ORIGINS)) is not None for row in environments if row)
    left_out = _NO_FACTS | set(_PARTS) | (set() if all_know else _SINCE_ORIGINS)
    machines = [
        {name: decoded(value) if name == "gpus" else value for name, value in row.items() if name not in left_out}
        for row in environments
    ]
    return EnvironmentComparison(
        machine=tuple(compare_nested(machines)),
        packages=(*parts["packages"], *_origins(environments)),
        determinism=tuple(_of_those_who_know(fact, environments) for fact in parts["determinism"]),
        variables=parts["variables"],
    )


def _origins(environments: Sequence[Mapping[str, Any]]) -> Iterator[Fact]:
    """In what packages of equal versions differ; nothing where their content is known to be the same."""
    origins = [decoded(row.get(_ORIGINS)) for row in environments]
    if not all(isinstance(one, Mapping) for one in origins):
        return
    versions = [_part(row, "packages") for row in environments]
    for name in sorted({name for one in origins for name in one}):
        if Fact.of(name, [one.get(name, MISSING) for one in versions]).differs:
            continue
        known = [mapping_of(one.get(name)) for one in origins]
        content = Fact.of(name, [one.get("files_hash", MISSING) for one in known])
        if content.differs or content.values[0] is MISSING:
            facts = compare_nested(known, nested=False)
            yield from (Fact(f"{name} ({fact.key})", fact.values, differs=True) for fact in facts if fact.differs)


def _of_those_who_know(fact: Fact, environments: Sequence[Mapping[str, Any]]) -> Fact:
    """A flag of determinism: a row that has others, but not this one, says nothing of it."""
    known = [
        value
        for value, row in zip(fact.values, environments, strict=True)
        if value is not MISSING or not _part(row, "determinism")
    ]
    return Fact(fact.key, fact.values, differs=Fact.of(fact.key, known).differs)


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return mapping_of(row.get(name))
