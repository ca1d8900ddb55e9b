"""The task's own classifier on top of the probe: L2-regularised multinomial logistic regression."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from lightning_lde.errors import LDEWarning

_MAX_ITERATIONS = 2000
_TOLERANCE = 1e-8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A linear classifier; class probabilities are softmax(features Wᵀ + b).

    Args:
        weight: W, (classes, D).
        bias: b, (classes,).
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]


def fit_head(features: npt.NDArray[np.float64], classes: npt.NDArray[np.int64], *, l2: float) -> Head:
    """Minimise Σ_n -log p(class_n) + l2/2 ||W||², which has one solution; the bias is not penalised.

    Args:
        features: (N, D).
        classes: Class of each row, 0 to C - 1, each present, (N,).
        l2: Strength of the penalty, above 0.

    Returns:
        The head, independent of any random state.
    """
    # Moving and scaling all features by constants leaves the minimiser the same and L-BFGS well conditioned.
    centre = features.mean(axis=0)
    scale = float(np.sqrt(((features - centre) ** 2).mean())) or 1.0
    two_classes = int(classes.max()) == 1
    # With two classes scikit-learn penalises w = w1 - w0; the softmax penalty of w1 = -w0 = w/2 is half.
    inverse = scale**2 / l2 * (2.0 if two_classes else 1.0)
    model = LogisticRegression(C=inverse, solver="lbfgs", max_iter=_MAX_ITERATIONS, tol=_TOLERANCE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit((features - centre) / scale, classes)
    if caught:
        warnings.warn(
            f"The head did not converge in {_MAX_ITERATIONS} iterations with l2={l2!r}; raise l2.",
            LDEWarning,
            stacklevel=3,
        )
    weight, bias = model.coef_ / scale, model.intercept_
    if two_classes:
        weight, bias = np.vstack([-weight, weight]) / 2.0, np.concatenate([-bias, bias]) / 2.0
    return Head(weight=weight, bias=bias - weight @ centre)
