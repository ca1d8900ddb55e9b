"""Least squares with one predictor of interest: what is left of it, and of y, beside other predictors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats

from lightning_lde.errors import DataError

from ._checks import MIN_POINTS, FloatArray, finite_vector, same_length, varying

# Below this share of its length a column is a combination of others but for rounding.
_DEPENDENT = 1e-8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coefficient:
    """What one predictor adds, the others held fixed.

    Args:
        name: The predictor.
        slope: Its coefficient, units of y per unit of the predictor.
        low: Lower bound of its t interval.
        high: Upper bound of it.
        t: The coefficient over its standard error.
        degrees_of_freedom: Degrees of freedom of t; no whole number in a mixed model.
        p: Two-sided p of t.
    """

    name: str
    slope: float
    low: float
    high: float
    t: float
    degrees_of_freedom: float
    p: float

    @property
    def r_squared_partial(self) -> float:
        """t²/(t² + degrees of freedom): the share of what the others leave that this one explains."""
        if math.isinf(self.t):
            return 1.0
        return self.t**2 / (self.t**2 + self.degrees_of_freedom)


class Partial(NamedTuple):
    """One predictor and y without what the other predictors explain (Frisch, Waugh and Lovell).

    Attributes:
        x: What is left of the predictor, shape (n,).
        y: What is left of y, shape (n,).
        basis: Orthonormal basis of the intercept and the other predictors, shape (n, k).
    """

    x: FloatArray
    y: FloatArray
    basis: FloatArray

    @property
    def slope(self) -> float:
        """The coefficient of x in the regression on all predictors."""
        return float(self.x @ self.y / (self.x @ self.x))

    @property
    def residual(self) -> FloatArray:
        """Y less the fit of all predictors, shape (n,)."""
        return np.asarray(self.y - self.slope * self.x, dtype=np.float64)

    @property
    def r(self) -> float:
        """The partial correlation; nan where the others explain y exactly."""
        norm = math.sqrt(float(self.x @ self.x) * float(self.y @ self.y))
        return float(np.clip(self.x @ self.y / norm, -1.0, 1.0)) if norm > 0.0 else math.nan


def predictor_columns(
    x: npt.ArrayLike, y: npt.ArrayLike, covariates: Mapping[str, npt.ArrayLike] | None
) -> tuple[dict[str, FloatArray], FloatArray]:
    """The predictors by name, x the first, and y, all checked.

    Raises:
        DataError: If there are too few points, lengths differ, a value is not finite, or something is constant.
    """
    if "x" in (covariates or {}):
        raise DataError("a covariate is named 'x', which stands for the predictor itself; give it another name.")
    given = {"x": x, **(covariates or {})}
    columns = {name: finite_vector(values, _label(name), minimum=MIN_POINTS) for name, values in given.items()}
    target = finite_vector(y, "y", minimum=MIN_POINTS)
    varying(target, "y")
    for name, column in columns.items():
        same_length(column, target, f"{_label(name)} and y")
        varying(column, _label(name))
    needed = MIN_POINTS + len(columns) - 1
    if target.size < needed:
        raise DataError(
            f"there are {target.size} points for {len(columns)} predictors, expected at least {needed}; "
            "leave covariates out or gather more."
        )
    return columns, target


def partial_out(x: FloatArray, y: FloatArray, others: Mapping[str, FloatArray]) -> Partial:
    """X and y without the intercept and the other predictors.

    Raises:
        DataError: If a predictor is a combination of the others.
    """
    basis, dependent = _orthonormal({**others, "x": x})
    if dependent is not None:
        rest = ", ".join(name for name in ("x", *others) if name != dependent)
        raise DataError(
            f"{_label(dependent)} is a combination of the other predictors ({rest}), so its slope cannot be told "
            "from theirs; leave one of them out."
        )
    kept = basis[:, :-1]
    return Partial(_without(x, kept), _without(y, kept), kept)


def try_partial_out(x: FloatArray, y: FloatArray, others: Mapping[str, FloatArray]) -> Partial | None:
    """As :func:`partial_out`; None where a slope does not exist, or the fit leaves no degree of freedom."""
    if y.size < len(others) + 3 or _orthonormal({**others, "x": x})[1] is not None:
        return None
    return partial_out(x, y, others)


def coefficients(
    columns: Mapping[str, FloatArray], y: FloatArray, *, confidence: float
) -> tuple[float, tuple[Coefficient, ...]]:
    """The intercept and the coefficient of each predictor by ordinary least squares."""
    matrix = np.column_stack(list(columns.values()))
    centre, scale = matrix.mean(axis=0), matrix.std(axis=0)
    q, r = np.linalg.qr((matrix - centre) / scale)
    beta = linalg.solve_triangular(r, q.T @ y)
    freedom = y.size - matrix.shape[1] - 1
    residual = y - y.mean() - q @ (q.T @ y)
    spread = math.sqrt(float(residual @ residual) / freedom)
    errors = spread * np.linalg.norm(linalg.solve_triangular(r, np.eye(r.shape[0])), axis=1)
    found = tuple(
        coefficient(name, slope, error, float(freedom), confidence=confidence)
        for name, slope, error in zip(columns, beta / scale, errors / scale, strict=True)
    )
    return float(y.mean() - centre @ (beta / scale)), found


def coefficient(name: str, slope: float, error: float, freedom: float, *, confidence: float) -> Coefficient:
    """A coefficient with its t interval, from its standard error."""
    margin = float(stats.t.ppf(0.5 + confidence / 2.0, freedom)) * float(error)
    t = float(slope / error) if error > 0.0 else math.copysign(math.inf, slope)
    return Coefficient(
        name=name,
        slope=float(slope),
        low=float(slope) - margin,
        high=float(slope) + margin,
        t=t,
        degrees_of_freedom=freedom,
        p=float(2.0 * stats.t.sf(abs(t), freedom)),
    )


def _orthonormal(columns: Mapping[str, FloatArray]) -> tuple[FloatArray, str | None]:
    """An orthonormal basis of the intercept and the columns, and the first column that adds nothing to it."""
    n = next(iter(columns.values())).size
    basis = np.full((n, 1), 1.0 / math.sqrt(n))
    for name, column in columns.items():
        centred = column - column.mean()
        left = _without(_without(centred, basis), basis)
        length = float(np.linalg.norm(left))
        if length <= _DEPENDENT * float(np.linalg.norm(centred)) or length <= 1e-13 * float(np.linalg.norm(column)):
            return basis, name
        basis = np.column_stack([basis, left / length])
    return basis, None


def _label(name: str) -> str:
    return "x" if name == "x" else f"covariate {name!r}"


def _without(values: FloatArray, basis: FloatArray) -> FloatArray:
    return np.asarray(values - basis @ (basis.T @ values), dtype=np.float64)
