"""What a design can tell apart: levels, cells, and factors whose variance can be estimated."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from lightning_lde.errors import DataError

from ._checks import FloatArray, IntArray

LARGEST_INTERACTION = 400
_SAME = 1e-9


def level_numbers(labels: Sequence[Hashable], name: str, n: int) -> IntArray:
    """The level of each value as a number, counted from zero in the order in which they are met.

    Raises:
        DataError: If there is not one label for each of the n values.
    """
    if len(labels) != n:
        raise DataError(f"factor {name!r} has {len(labels)} labels, expected one for each of {n} values; align them.")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def cells_of(codes: Mapping[str, IntArray], n: int) -> tuple[IntArray, int]:
    """The cell of each value and the number of cells; without factors all values lie in one."""
    rows = np.stack([*codes.values(), np.zeros(n, dtype=np.int64)], axis=1)
    cells, inverse = np.unique(rows, axis=0, return_inverse=True)
    return inverse.reshape(-1).astype(np.int64), len(cells)


def without_equal_repeats(y: FloatArray, codes: dict[str, IntArray]) -> tuple[FloatArray, dict[str, IntArray], int]:
    """One value per cell where all repeats are equal: they would claim that a repetition never varies."""
    cells, n_cells = cells_of(codes, y.size)
    if n_cells in (1, y.size):
        return y, codes, 0
    means = np.bincount(cells, weights=y) / np.bincount(cells)
    if float(((y - means[cells]) ** 2).sum()) > 1e-20 * float(((y - y.mean()) ** 2).sum()):
        return y, codes, 0
    first = np.unique(cells, return_index=True)[1]
    return y[first], {name: levels[first] for name, levels in codes.items()}, int(y.size - n_cells)


def estimable_factors(codes: Mapping[str, IntArray], n: int) -> tuple[dict[str, str], list[str]]:
    """Why some factors have no estimate, and the names of the others.

    The restricted likelihood knows a factor only through the matrix MZZ'M, where M takes out the mean: a factor
    whose matrix is a combination of the identity's and the others' cannot be told from them.
    """
    reasons, taken = {}, list[str]()
    for name, levels in codes.items():
        if int(levels.max()) == 0:
            reasons[name] = "one level"
            continue
        design = [codes[one] for one in (*taken, name)]
        gram = _gram(design, n)
        left = 1.0 - gram[-1, :-1] @ np.linalg.solve(gram[:-1, :-1], gram[:-1, -1])
        if left > _SAME and _rank(design) < n:
            taken.append(name)
            continue
        same = [other for other, near in zip(["", *taken], gram[-1, :-1], strict=True) if near > 1.0 - _SAME]
        if not same:
            reasons[name] = " and ".join(["cannot be told from the residual", *taken])
        elif same[0]:
            reasons[name] = f"always changes together with {same[0]}"
        else:
            reasons[name] = "one value a level: cannot be told from the residual"
    return reasons, taken


def _indicators(levels: IntArray) -> FloatArray:
    return np.eye(int(levels.max()) + 1)[levels]


def _rank(factors: Sequence[IntArray]) -> int:
    """Dimensions that the factors and the mean span; as many as there are values leave nothing for the residual."""
    return int(np.linalg.matrix_rank(np.concatenate([_indicators(levels) for levels in factors], axis=1)))


def _gram(factors: Sequence[IntArray], n: int) -> FloatArray:
    """Cosines between MM, MZ_1Z_1'M, …: of the residual's matrix and those of the factors."""
    centred = [one - one.mean(axis=0) for one in map(_indicators, factors)]
    gram = np.empty((len(factors) + 1, len(factors) + 1))
    gram[0, 0] = n - 1
    for i, one in enumerate(centred, 1):
        gram[0, i] = gram[i, 0] = (one**2).sum()
        for j, other in enumerate(centred, 1):
            gram[i, j] = ((one.T @ other) ** 2).sum()
    norms = np.sqrt(np.diag(gram))
    return np.asarray(gram / np.outer(norms, norms), dtype=np.float64)


def interaction_of(codes: Mapping[str, IntArray], taken: list[str], n: int) -> tuple[str, IntArray] | None:
    """The combinations of all estimated factors as one more factor, where repeats tell it from the residual."""
    chosen = {name: codes[name] for name in taken}
    cells, n_cells = cells_of(chosen, n)
    name = " × ".join(taken)
    if len(taken) < 2 or n_cells == n or n_cells > LARGEST_INTERACTION:
        return None
    return (name, cells) if name in estimable_factors({**chosen, name: cells}, n)[1] else None


def residual_holds(
    reasons: Mapping[str, str], taken: list[str], *, has_interaction: bool, may_repeat: bool
) -> tuple[str, ...]:
    """What the residual is made of: factors and interactions that it cannot be told from, and plain repetition."""
    holds = [name for name, reason in reasons.items() if "residual" in reason]
    if len(taken) > 1 and not has_interaction:
        holds.append(" × ".join(taken))
    return tuple([*holds, "repetition"] if may_repeat or not holds else holds)
