"""Settings as points of a unit cube: there and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lightning_lde.errors import ConfigurationError
from lightning_lde.recommend._cube import Cube

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "dropout": FloatDistribution(0.0, 0.5, step=0.1),
    "width": IntDistribution(8, 512, log=True),
    "depth": IntDistribution(1, 9, step=2),
    "act": CategoricalDistribution(["relu", "gelu", None, True]),
}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-0.5, 1.5), min_size=8, max_size=8))
def test_every_point_is_a_value_of_each_distribution(point: list[float]) -> None:
    found = Cube(SPACE).decoded(np.array(point))
    for name, distribution in SPACE.items():
        assert distribution._contains(distribution.to_internal_repr(found[name])), (name, found[name])
    assert isinstance(found["width"], int)


@settings(max_examples=50, deadline=None)
@given(
    st.floats(1e-5, 1.0),
    st.integers(0, 5),
    st.integers(8, 512),
    st.integers(0, 4),
    st.sampled_from(["relu", None, True]),
)
def test_values_come_back(lr: float, tenths: int, width: int, half: int, act: Any) -> None:
    values = {"lr": lr, "dropout": tenths * 0.1, "width": width, "depth": 1 + 2 * half, "act": act}
    cube = Cube(SPACE)
    point = cube.encoded(values)
    assert point is not None
    assert cube.contains(point[None])[0]
    found = cube.decoded(point)
    assert found == {**values, "lr": pytest.approx(lr), "dropout": pytest.approx(tenths * 0.1)}


def test_equal_ratios_are_equal_steps() -> None:
    cube = Cube({"lr": SPACE["lr"]})
    places = [cube.encoded({"lr": value}) for value in (1e-5, 10**-2.5, 1.0, 10.0)]
    assert np.concatenate([one for one in places if one is not None]) == pytest.approx([0, 0.5, 1, 1.2])
    assert cube.contains(np.array([[1.0], [1.2]])).tolist() == [True, False]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "0.1", None, True])
def test_what_is_no_number_has_no_place(value: Any) -> None:
    assert Cube({"lr": SPACE["lr"]}).encoded({"lr": value}) is None


def test_a_choice_that_the_space_lacks_is_outside() -> None:
    cube = Cube({"act": SPACE["act"]})
    point = cube.encoded({"act": "tanh"})
    assert point is not None
    assert not cube.contains(point[None])[0]


def test_what_is_missing_or_unknown() -> None:
    cube = Cube({"lr": SPACE["lr"], "depth": SPACE["depth"]})
    assert cube.encoded({"lr": 0.1}) is None
    point = cube.encoded({"lr": 1.0}, known=[True, False])
    assert point is not None
    assert point.tolist() == [1.0, 0.5]
    assert cube.columns_of([True, False]).tolist() == [True, False]


def test_points_at_random_are_values() -> None:
    cube = Cube(SPACE)
    drawn = cube.drawn(50, np.random.default_rng(0))
    assert cube.contains(drawn).all()
    assert (drawn[:, -4:].sum(axis=1) == 1).all()


def test_a_distribution_of_another_kind() -> None:
    class Other(BaseDistribution):
        def to_internal_repr(self, param_value_in_external_repr: Any) -> float:
            return 0.0

        def single(self) -> bool:
            return False

        def _contains(self, param_value_in_internal_repr: float) -> bool:
            return True

    with pytest.raises(ConfigurationError, match="'x'"):
        Cube({"x": Other()})
