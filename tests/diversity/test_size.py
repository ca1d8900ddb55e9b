"""The common size against a search over all sizes, and draws of that size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.diversity import CommonSize, common_size, subsample
from lightning_lde.errors import ConfigurationError, DataError


@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=7), min_size=1, max_size=4))
def test_is_the_largest_size_that_fits_everywhere(class_counts: list[list[int]]) -> None:
    fits = [
        (ways * images, ways, images)
        for ways in range(2, 8)
        for images in range(4, 21, 2)
        if all(sum(count >= images for count in counts) >= ways for counts in class_counts)
    ]
    if not fits:
        with pytest.raises(DataError, match="no task size"):
            common_size(class_counts)
        return
    found = common_size(class_counts)
    assert (found.ways * found.images_per_class, found.ways, found.images_per_class) == max(fits)


def test_one_side_can_be_given() -> None:
    counts = [[50, 40, 30, 8], [21, 21, 21]]
    assert common_size(counts, ways=2) == CommonSize(ways=2, images_per_class=20)
    assert common_size(counts, images_per_class=6) == CommonSize(ways=3, images_per_class=6)
    assert common_size(counts, ways=2, images_per_class=10) == CommonSize(ways=2, images_per_class=10)
    with pytest.raises(DataError, match=r"ways=4.*class_counts\[1\] begins \[21, 21, 21\]"):
        common_size(counts, ways=4)
    with pytest.raises(ConfigurationError, match="images_per_class=5"):
        common_size(counts, images_per_class=5)
    with pytest.raises(ConfigurationError, match="ways=1"):
        common_size(counts, ways=1)


@given(seed=st.integers(0, 20))
def test_a_draw_has_the_size_and_no_image_twice(seed: int) -> None:
    labels = np.repeat(["a", "b", "c", "d"], [9, 6, 3, 8])
    chosen = subsample(labels, CommonSize(ways=2, images_per_class=6), seed=seed)
    names, counts = np.unique(labels[chosen], return_counts=True)
    assert len(set(chosen.tolist())) == 12
    assert counts.tolist() == [6, 6]
    assert "c" not in names


@given(seed=st.integers(0, 20))
def test_a_group_gives_a_class_one_image(seed: int) -> None:
    labels, groups = np.repeat([0, 1], 24), np.tile(np.repeat(np.arange(6), 4), 2)
    chosen = subsample(labels, CommonSize(ways=2, images_per_class=6), groups=groups, seed=seed)
    assert len(set(zip(labels[chosen].tolist(), groups[chosen].tolist(), strict=True))) == 12
    with pytest.raises(DataError, match="0 of 2 classes have 8 images"):
        subsample(labels, CommonSize(ways=2, images_per_class=8), groups=groups)


def test_too_large_a_draw_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 classes have 4 images, expected 2"):
        subsample([0] * 4 + [1] * 3, CommonSize(ways=2, images_per_class=4))
