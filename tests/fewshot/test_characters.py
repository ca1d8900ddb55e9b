"""Character sets: the same bytes everywhere, no blank and no double classes, sound splits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import CHARACTER_SETS, FewShotDataset, character_set, demo_sets, digits_set


@pytest.fixture(scope="module")
def all_sets() -> list[FewShotDataset]:
    return demo_sets()


def test_there_are_twelve_character_sets_and_the_digits(all_sets: list[FewShotDataset]) -> None:
    assert [one.name for one in all_sets] == [*CHARACTER_SETS, "digits"]
    assert len(CHARACTER_SETS) >= 12
    assert len({one.fingerprint for one in all_sets}) == len(all_sets)


def test_every_set_can_be_used_for_a_study(all_sets: list[FewShotDataset]) -> None:
    for one in all_sets:
        assert one.images.shape[1:] == (1, 28, 28)
        assert one.class_splits.count("train") >= 5
        assert one.class_splits.count("test") >= 5
        assert one.n_classes <= 40
        assert min(one.class_counts.values()) >= 20
        assert one.licence
        assert one.source


def test_splits_have_the_intended_shares(greek: FewShotDataset) -> None:
    counts = [greek.class_splits.count(part) for part in ("train", "val", "test")]
    assert counts == [22, 4, 14]


def test_no_image_is_blank_and_instances_differ(all_sets: list[FewShotDataset]) -> None:
    for one in all_sets:
        assert (one.images.flatten(1).amax(1) > 60).all()
        distinct = torch.unique(one.images.flatten(1), dim=0)
        assert len(distinct) == len(one)


def test_no_missing_glyph_box_is_drawn() -> None:
    from fontTools.ttLib import TTFont

    from lightning_lde.fewshot.sources._glyphs import _path, faces_of

    assert faces_of(0x0378) == []
    for code_point in (0x0391, 0x05D0, 0x1401, 0x2701):
        for face in faces_of(code_point):
            assert TTFont(_path(face)).getBestCmap()[code_point] != ".notdef"


def test_classes_of_a_set_look_different(all_sets: list[FewShotDataset]) -> None:
    from lightning_lde.fewshot.sources._glyphs import faces_of, plain

    for one in all_sets[:-1]:
        points = [int(name.split()[0][2:], 16) for name in one.classes]
        looks = {plain(faces_of(point)[0], point).tobytes() for point in points}
        assert len(looks) == one.n_classes


def test_another_process_draws_the_same_bytes(greek: FewShotDataset, other_process: dict[str, str]) -> None:
    assert other_process["greek"] == greek.fingerprint


def test_drawing_neither_uses_nor_moves_global_random_state(greek: FewShotDataset) -> None:
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    assert character_set("greek").fingerprint == greek.fingerprint
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_numbers_of_the_affine_change_fill_their_range() -> None:
    from scipy.stats import kstest

    from lightning_lde.fewshot.sources._glyphs import key_of, uniform

    sample = np.concatenate([uniform(key_of("set", step), 6) for step in range(500)])
    assert kstest(sample, "uniform", args=(-1, 2)).pvalue > 1e-3
    assert uniform(key_of("set", 1), 1)[0] == pytest.approx(sample[6])


def test_digits_are_those_of_scikit_learn() -> None:
    digits, source = digits_set(), load_digits()
    assert list(digits.class_counts.values()) == [100] * 10
    first = source.images[source.target == 7][0] * 255 / 16
    drawn = digits.images[digits.labels == 7][0, 0].numpy()
    middles = drawn[np.ix_(np.arange(8) * 28 // 8 + 1, np.arange(8) * 28 // 8 + 1)]
    assert np.corrcoef(middles.ravel(), first.ravel())[0, 1] > 0.97


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="'klingon' is unknown"):
        character_set("klingon")
    with pytest.raises(ConfigurationError, match="max_classes=9"):
        character_set("greek", max_classes=9)
    few = character_set("greek", max_classes=10, instances=2)
    assert (few.n_classes, len(few)) == (10, 20)
    assert few.class_splits.count("test") == 5
