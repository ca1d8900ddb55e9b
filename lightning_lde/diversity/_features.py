"""The cheap baseline: mean features of a probe instead of Fisher information."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import DataError

from ._halves import Halves
from ._inputs import FloatArray, finite_rows, same_dimension


def feature_deviation(features: npt.ArrayLike) -> FloatArray:
    """The standard deviation of each feature over images, by which mean features are standardised.

    Args:
        features: Features of images pooled over all data sets that are compared, (N, D), N at least 2.

    Returns:
        Standard deviations, (D,); infinite where a feature does not vary, so that it drops out.

    Raises:
        DataError: If the features are unfit or none varies.

    Example:
        >>> feature_deviation([[1.0, 5.0], [3.0, 5.0]]).tolist()
        [1.4142135623730951, inf]
    """
    values = finite_rows(features, "features", minimum=2)
    deviation = values.std(axis=0, ddof=1)
    constant = np.ptp(values, axis=0) == 0.0
    if constant.all():
        raise DataError("features are the same for all images, expected some that vary; check the probe.")
    return np.where(constant, np.inf, deviation)


def mean_feature_halves(
    features: Sequence[npt.ArrayLike], halves: Sequence[Halves], *, deviation: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Standardised mean features of both halves of each task, to be used in the place of log profiles.

    `crossvalidated_coefficient` of them is the mean-feature diversity: one forward pass, no head, no gradient.
    It is what a more costly embedding has to beat; labels do not enter it.

    Args:
        features: Features of each task's images, n matrices (N_i, D).
        halves: Halves of each task, as of `halve`.
        deviation: Standard deviation of each feature, as of `feature_deviation`, (D,).

    Returns:
        Means of the first and of the second half, two matrices (n, D).

    Raises:
        DataError: If lengths or dimensions do not fit, a half is empty, or a feature is not finite.

    Example:
        >>> halves = Halves(first=np.array([0, 1]), second=np.array([2, 3]))
        >>> first, second = mean_feature_halves([[[1.0], [3.0], [2.0], [4.0]]], [halves], deviation=[2.0])
        >>> first.tolist(), second.tolist()
        ([[1.0]], [[1.5]])
    """
    if len(features) != len(halves) or not len(features):
        raise DataError(f"features of {len(features)} tasks and halves of {len(halves)}, expected as many of both.")
    scale = np.asarray(deviation, dtype=np.float64)
    if scale.ndim != 1 or not (scale > 0.0).all():
        raise DataError(
            f"deviation of shape {scale.shape} must be one number above 0 a feature; use feature_deviation()."
        )
    first, second = [], []
    for number, (task, parts) in enumerate(zip(features, halves, strict=True)):
        values = finite_rows(task, f"features[{number}]", minimum=2)
        same_dimension(values.shape[1], scale.size)
        if not (parts.first.size and parts.second.size):
            raise DataError(f"halves[{number}] has an empty half, expected images in both; use halve().")
        first.append(values[parts.first].mean(axis=0) / scale)
        second.append(values[parts.second].mean(axis=0) / scale)
    return np.stack(first), np.stack(second)
