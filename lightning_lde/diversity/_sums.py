"""Running sums from which the diversity of any union of task sets follows without their vectors."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import DataError

from ._inputs import FloatArray, halves_of_rows, same_dimension


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DiversitySums:
    """Sums over tasks that give the cross-validated coefficient and its noise, for any union of sets.

    They form a commutative monoid: `merge` is associative and `DiversitySums.empty` its neutral element. So
    one such row for each stored part is enough to know the diversity of any union of parts, in O(D).

        value = (Σ⟨x^A, x^B⟩ - ⟨Σx^A, Σx^B⟩/n) / ((n - 1) D),

    which is the mean of `crossvalidated_distances` over all pairs.

    Args:
        n_tasks: Number of tasks n.
        first: Σx^A, (D,).
        second: Σx^B, (D,).
        product: Σ⟨x^A, x^B⟩.
        squares: Σ(||x^A||² + ||x^B||²).

    Example:
        >>> sums = DiversitySums.empty(2).add([[1.0, -1.0]], [[1.0, -1.0]]).add([[-1.0, 1.0]], [[-1.0, 1.0]])
        >>> sums.n_tasks, sums.value, sums.noise
        (2, 2.0, 0.0)

    Source: as for sums of squares in parallel: Chan, Golub and LeVeque (1983), The American Statistician 37,
    242-247; here for the product of two halves.
    """

    n_tasks: int
    first: FloatArray
    second: FloatArray
    product: float
    squares: float

    @classmethod
    def empty(cls, dimension: int) -> DiversitySums:
        """Sums of no task.

        Args:
            dimension: Number of filters or features D.
        """
        return cls(n_tasks=0, first=np.zeros(dimension), second=np.zeros(dimension), product=0.0, squares=0.0)

    @classmethod
    def of(cls, first: npt.ArrayLike, second: npt.ArrayLike) -> DiversitySums:
        """Sums of the given tasks.

        Args:
            first: Profiles from the first half of each task, (n, D).
            second: Profiles from the second half, (n, D).

        Raises:
            DataError: If the halves are not finite matrices of one shape.
        """
        one, two = halves_of_rows(first, second)
        return cls(
            n_tasks=one.shape[0],
            first=one.sum(axis=0),
            second=two.sum(axis=0),
            product=float((one * two).sum()),
            squares=float((one**2).sum() + (two**2).sum()),
        )

    def add(self, first: npt.ArrayLike, second: npt.ArrayLike) -> DiversitySums:
        """Sums that hold further tasks as well; these sums stay as they are.

        Args:
            first: Profiles from the first half of each new task, (n, D).
            second: Profiles from the second half, (n, D).

        Raises:
            DataError: If the halves are unfit or of another dimension.
        """
        return self.merge(DiversitySums.of(first, second))

    def merge(self, other: DiversitySums) -> DiversitySums:
        """Sums over the tasks of both; a task in both counts twice.

        Raises:
            DataError: If the dimensions differ.
        """
        same_dimension(self.first.size, other.first.size)
        return DiversitySums(
            n_tasks=self.n_tasks + other.n_tasks,
            first=self.first + other.first,
            second=self.second + other.second,
            product=self.product + other.product,
            squares=self.squares + other.squares,
        )

    @property
    def value(self) -> float:
        """The cross-validated diversity coefficient.

        Raises:
            DataError: If there are fewer than two tasks.
        """
        return self._covariance(self.product, float(self.first @ self.second))

    @property
    def plain(self) -> float:
        """The coefficient of the mean of both halves by `log_ratio_distances`, noise included."""
        return self.value + self.noise

    @property
    def noise(self) -> float:
        """What estimation noise adds to `plain`: a quarter of the coefficient of x^A - x^B."""
        difference = self.first - self.second
        return self._covariance(self.squares - 2.0 * self.product, float(difference @ difference)) / 4.0

    def _covariance(self, products: float, of_sums: float) -> float:
        if self.n_tasks < 2:
            raise DataError(f"sums of {self.n_tasks} tasks, expected at least 2; add more before asking for a value.")
        return float((products - of_sums / self.n_tasks) / ((self.n_tasks - 1) * self.first.size))
