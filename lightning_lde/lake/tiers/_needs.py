"""Which files below ``objects/`` and ``chunks/`` have to be in which root, by the tiers of the files that need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lightning_lde.lake.objects import WHOLE, Holding, References, chunk_path
from lightning_lde.lake.tiers._plan import FileKey
from lightning_lde.schema import Tier


@dataclass(frozen=True)
class Needs:
    """Paths by what they are needed for.

    Attributes:
        hot: Needed in the lake's own root: by hot files, as recipes, as anything else that rows name.
        cold: Needed by cold files alone.
        gone: Of deleted files alone.
    """

    hot: frozenset[str]
    cold: frozenset[str]
    gone: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """What is needed anywhere."""
        return self.hot | self.cold


def needs(found: References, tiers: Mapping[FileKey, str]) -> Needs:
    """What has to be where.

    Args:
        found: What rows refer to.
        tiers: The tier of each file; one that is not known is hot.
    """
    hot, cold, gone = set(found.others), set[str](), set[str]()
    for holding in (*found.holdings, *found.deleted):
        tier = tiers.get(key_of(holding), Tier.HOT)
        if tier == Tier.DELETED:
            gone.update(holding.paths)
        elif tier == Tier.COLD:
            cold.update(movable(holding))
            # Without its recipe nobody knows what a file needs, and asking an archive for it takes hours.
            hot.update(set(holding.paths) - set(movable(holding)))
        else:
            hot.update(holding.paths)
    return Needs(frozenset(hot), frozenset(cold - hot), frozenset(gone - hot - cold))


def key_of(holding: Holding) -> FileKey:
    """The file that a holding is of."""
    return FileKey(holding.run_id, holding.path, holding.object_id)


def movable(holding: Holding) -> tuple[str, ...]:
    """Of a file what can be cold: all but its recipe."""
    if holding.recipe == WHOLE:
        return holding.paths
    recipe = chunk_path(holding.recipe)
    return tuple(path for path in holding.paths if path != recipe)


def by_key(holdings: Iterable[Holding]) -> dict[FileKey, set[str]]:
    """What each file needs that can be cold; one that was stored in two ways needs both."""
    found: dict[FileKey, set[str]] = {}
    for holding in holdings:
        found.setdefault(key_of(holding), set()).update(movable(holding))
    return found
